import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import {
  grantToUser,
  installCrd,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  Operator,
  permissions,
} from '../../dev/operator.ts';
import { eventually } from './world.ts';

jest.setTimeout(180_000);

/** Started before anything is there that it needs; each test brings one thing more. */
describe('an operator that starts too early', () => {
  let controlPlane: ControlPlane;
  let operator: Operator;
  let pid: number | undefined;

  beforeAll(async () => {
    controlPlane = await startControlPlane({ users: [{ name: OPERATOR_USER }] });
    await controlPlane.kubectl(['create', 'namespace', OPERATOR_NAMESPACE]);
    operator = await Operator.start({
      kubeconfig: controlPlane.userKubeconfig(OPERATOR_USER),
      config: { leaderElection: { namespace: OPERATOR_NAMESPACE } },
      startedWhen: '/livez',
    });
    pid = operator.pid;
  }, 600_000);

  afterAll(async () => {
    await operator?.stop();
    await controlPlane?.stop();
  });

  const readiness = (): Promise<string> => operator.get('/readyz').catch(String);

  async function saysSo(text: string): Promise<void> {
    const said = await eventually(readiness, (it) => it.includes(text));
    expect(said).toContain('503');
    expect(said).toContain(text);
    expect(await operator.log()).toContain(text);
  }

  const grant = async (isWanted: (kind: string) => boolean): Promise<void> =>
    grantToUser(
      controlPlane,
      (await permissions()).filter(({ kind }) => isWanted(kind)),
    );

  it('names a permission that is missing', () =>
    saysSo('The operator may not list convercuscredentials.convercus.io in the whole cluster'));

  it('names the missing CRD', async () => {
    await grant((kind) => kind.startsWith('ClusterRole'));
    await saysSo('install the CRD');
  });

  it('names a permission on the Lease that is missing, while its caches are warm', async () => {
    await installCrd(controlPlane);
    await saysSo('The operator may not get leases.coordination.k8s.io');
    const said = await eventually(readiness, (it) => !it.includes('credentials'));
    expect(said).not.toContain('credentials');
  });

  it('goes on by itself as soon as all is there', async () => {
    await grant((kind) => kind.startsWith('Role'));
    expect(await eventually(readiness, (it) => it === 'ok\n')).toBe('ok\n');
    expect(operator.pid).toBe(pid);
  });
});
