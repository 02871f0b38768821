import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { abcRealm } from '../../dev/convercus/realm.ts';
import { localStaging, OPERATOR_NAMESPACE, thisRelease } from '../../dev/testbed/operator.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { BUILD_TIME, renderOverlay, the } from '../packaging/render.ts';

const PERMISSIONS = /^((Cluster)?Role|ValidatingAdmissionPolicy)(Binding)?$/;

/** The operator with the permissions, the policies and the configuration of deploy/overlays/namespaces, which lists `shop` alone. */
describe('an operator for listed namespaces', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    const overlay = await renderOverlay('namespaces');
    const permissions = overlay.filter(({ kind }) => PERMISSIONS.test(kind));
    const release = { ...(await thisRelease()), permissions };
    testbed = await Testbed.start({ release, namespaces: ['shop', 'elsewhere'], operators: [] });
    testbed.provider.realms.add({
      ...(await abcRealm('client-secret', 'password')),
      realm: 'abc-staging',
    });
    const { leaderElection, ...config } = parse(the('ConfigMap', overlay)['data']['config.yaml']);
    await testbed.startOperator({
      config: {
        ...config,
        environments: localStaging(testbed.provider.url),
        leaderElection: { ...leaderElection, namespace: OPERATOR_NAMESPACE },
      },
    });
  }, BUILD_TIME);

  afterAll(() => testbed?.stop());

  async function create(namespace: string): Promise<void> {
    const secret = ['secret', 'generic', 'source', '--from-literal=client_secret=client-secret'];
    await testbed.controlPlane.kubectl(['create', ...secret, '-n', namespace]);
    const input = stringify(credentialObject('loyalty', { program: 'ABC' }));
    await testbed.controlPlane.kubectl(['apply', '-n', namespace, '-f', '-'], { input });
  }

  it('serves those, and leaves the others alone', async () => {
    await create('elsewhere');
    await create('shop');
    const ready = ['--for=condition=Ready', 'convcred/loyalty', '--timeout=90s'];
    await testbed.controlPlane.kubectl(['wait', ...ready, '-n', 'shop']);
    const seen = ['get', 'convcred', 'loyalty', '-n', 'elsewhere', '-o', 'jsonpath={.status}'];
    expect(await testbed.controlPlane.kubectl(seen)).toBe('{"observedGeneration":-1}');
    const secrets = ['get', 'secrets', '-n', 'elsewhere', '-o', 'name'];
    expect(await testbed.controlPlane.kubectl(secrets)).toBe('secret/source\n');
  });

  it('sends no request that it has no permission for', async () => {
    const requests = await testbed.audit.since(0);
    expect(requests.filter(({ code }) => code === 403)).toEqual([]);
    const namespaces = new Set(requests.map(({ namespace }) => namespace));
    expect(namespaces).toEqual(new Set(['shop', OPERATOR_NAMESPACE]));
  });
});
