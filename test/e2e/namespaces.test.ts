import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { abcRealm } from '../../dev/convercus/realm.ts';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import {
  type IdentityProvider,
  startIdentityProvider,
} from '../../dev/keycloak/dialect/identity-provider.ts';
import {
  grantToUser,
  installCrd,
  localStaging,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  Operator,
} from '../../dev/operator.ts';
import { BUILD_TIME, renderOverlay, the } from '../packaging/render.ts';
import { credentialObject } from './world.ts';

jest.setTimeout(180_000);

const AUDIT = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', users: [OPERATOR_USER] }, { level: 'None' }],
};

/** The operator with the permissions and the configuration of deploy/overlays/namespaces, which lists `shop` alone. */
describe('an operator for listed namespaces', () => {
  let controlPlane: ControlPlane;
  let provider: IdentityProvider;
  let operator: Operator;

  beforeAll(async () => {
    const overlay = await renderOverlay('namespaces');
    controlPlane = await startControlPlane({
      users: [{ name: OPERATOR_USER }],
      auditPolicy: AUDIT,
    });
    await installCrd(controlPlane);
    for (const namespace of [OPERATOR_NAMESPACE, 'shop', 'elsewhere']) {
      await controlPlane.kubectl(['create', 'namespace', namespace]);
    }
    await grantToUser(
      controlPlane,
      overlay.filter(({ kind }) => /^(Cluster)?Role(Binding)?$/.test(kind)),
    );
    provider = await startIdentityProvider();
    provider.realms.add({ ...(await abcRealm('secret', 'password')), realm: 'abc-staging' });
    const { leaderElection, ...config } = parse(the('ConfigMap', overlay)['data']['config.yaml']);
    operator = await Operator.start({
      kubeconfig: controlPlane.userKubeconfig(OPERATOR_USER),
      config: {
        ...config,
        environments: localStaging(provider.url),
        leaderElection: { ...leaderElection, namespace: OPERATOR_NAMESPACE },
      },
    });
  }, BUILD_TIME);

  afterAll(async () => {
    await operator?.stop();
    await provider?.close();
    await controlPlane?.stop();
  });

  async function create(namespace: string): Promise<void> {
    const secret = ['secret', 'generic', 'source', '--from-literal=client_secret=secret'];
    await controlPlane.kubectl(['create', ...secret, '-n', namespace]);
    const input = stringify(credentialObject('loyalty', { program: 'ABC' }));
    await controlPlane.kubectl(['apply', '-n', namespace, '-f', '-'], { input });
  }

  it('serves those, and leaves the others alone', async () => {
    await create('elsewhere');
    await create('shop');
    const ready = ['--for=condition=Ready', 'cvc/loyalty', '--timeout=90s'];
    await controlPlane.kubectl(['wait', ...ready, '-n', 'shop']);
    const seen = ['get', 'cvc', 'loyalty', '-n', 'elsewhere', '-o', 'jsonpath={.status}'];
    expect(await controlPlane.kubectl(seen)).toBe('{"observedGeneration":-1}');
    const secrets = ['get', 'secrets', '-n', 'elsewhere', '-o', 'name'];
    expect(await controlPlane.kubectl(secrets)).toBe('secret/source\n');
  });

  it('never asks for what it may not have', async () => {
    const requests = (await readFile(controlPlane.auditLog, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(requests.filter(({ responseStatus }) => responseStatus?.code === 403)).toEqual([]);
    const namespaces = new Set(requests.map(({ objectRef }) => objectRef?.namespace));
    expect(namespaces).toEqual(new Set(['shop', OPERATOR_NAMESPACE]));
  });
});
