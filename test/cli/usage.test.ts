import { describe, expect, it } from '@jest/globals';
import type { Context } from '../../src/cli/context.ts';
import { checkLines, fail } from '../../src/cli/doctor/check.ts';
import { namespaceChecks } from '../../src/cli/doctor/namespaces.ts';
import { targetChecks } from '../../src/cli/doctor/target.ts';
import { shownCluster } from '../../src/cli/kind.ts';
import { painter } from '../../src/cli/output.ts';
import { startScriptedApiServer } from '../kubernetes/scripted-api-server.ts';
import { aCredential } from '../support/builders.ts';
import { Person } from './person.ts';

describe('kubectl convercus', () => {
  it('takes an empty namespace for none', async () => {
    const asked: string[] = [];
    await using server = await startScriptedApiServer(({ path }) => {
      asked.push(path);
      return { body: { items: [] } };
    });
    const { kubeconfigPath: kubeconfig } = server;
    await new Person({ kubeconfig }).cli('list', '-n', '');
    await new Person({ kubeconfig }).cli('logs', '-n', 'shop', '--operator-namespace', '');
    expect(asked[0]).toBe('/apis/convercus.io/v1alpha1/namespaces/default/convercuscredentials');
    expect(asked).toContain('/api/v1/namespaces/convercus-operator/pods');
  });

  it.each([
    [
      ['status', 'loyalty', '-A'],
      'A credential can not be named across all namespaces; give its namespace with -n',
    ],
    [
      ['renew', '--wait', 'loyalty'],
      '"loyalty" is no time; --wait takes one such as 1m, so write names before it',
    ],
    [['renew', 'loyalty', '--wait', 'soon'], '"soon" is no time; --wait takes one such as 1m'],
    [['check', 'api', '--wait', 'soon'], '"soon" is no time; write one such as 30s, 5m or 1h30m'],
  ])('refuses %j', async (args, sentence) => {
    await using server = await startScriptedApiServer(() => ({ body: aCredential() }));
    const { code, err } = await new Person({ kubeconfig: server.kubeconfigPath }).cli(...args);
    expect([code, err]).toEqual([2, expect.stringContaining(sentence)]);
  });
});

describe('doctor', () => {
  const pod = (name: string) => ({
    metadata: { name, namespace: 'shop' },
    spec: {
      volumes: [{ name: 't', secret: { secretName: 'loyalty-token' } }],
      containers: [{ volumeMounts: [{ name: 't' }] }],
    },
  });

  /** A person who may list these pods. */
  const contextWith = (pods: readonly object[]): Context =>
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a context is not used here
    ({
      namespace: 'shop',
      host: { now: () => 0 },
      cluster: {
        send: async () => ({ metadata: { uid: 'u', resourceVersion: '1' } }),
        list: async ({ plural }: { plural: string }) =>
          plural === 'pods' ? pods : [{ metadata: { name: 'shop' } }],
      },
    }) as unknown as Context;

  it.each([
    [1, '1 workload sees each new token'],
    [2, '2 workloads see each new token'],
  ])('counts %i', async (count, text) => {
    const pods = ['a', 'b'].slice(0, count).map(pod);
    const [, consumers] = await targetChecks(contextWith(pods), aCredential());
    expect(consumers).toEqual({ name: 'Consumers', result: 'ok', text });
    const { spec, metadata } = aCredential();
    const target = { ...spec.target, name: 'loyalty-token', creationPolicy: 'Owner' as const };
    const cluster = { metadata, spec: { ...spec, target, namespaces: ['shop'] } };
    const [, everywhere] = await namespaceChecks(
      contextWith(pods),
      shownCluster(cluster, 'operators'),
    );
    expect(everywhere).toEqual({ name: 'Consumers', result: 'ok', text });
  });

  it('puts all lines of what to do under each other', () => {
    const lines = checkLines(
      [fail('Targets', '0 of 2', 'shop: one\nwarehouse: two')],
      painter(false),
    );
    expect(lines).toBe(
      '[fail] Targets     0 of 2\n                   shop: one\n                   warehouse: two\n1 failure.',
    );
  });
});
