import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import {
  installCrd,
  OPERATOR_NAMESPACE,
  type Operator,
  permissions,
} from '../../dev/testbed/operator.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';

/** The operator starts without anything that it needs; each test adds one thing. */
describe('an operator that starts too early', () => {
  let testbed: Testbed;
  let operator: Operator;
  let pid: number | undefined;

  beforeAll(async () => {
    testbed = await Testbed.start({ release: 'none', operators: [] });
    await testbed.controlPlane.kubectl(['create', 'namespace', OPERATOR_NAMESPACE]);
    operator = await testbed.startOperator({ startedWhen: '/livez' });
    pid = operator.pid;
  }, 600_000);

  afterAll(() => testbed?.stop());

  const readiness = (): Promise<string> => operator.get('/readyz').catch(String);

  async function saysSo(text: string): Promise<void> {
    const said = await eventually(readiness, (it) => it.includes(text));
    expect(said).toContain('503');
    expect(said).toContain(text);
    expect(await operator.log()).toContain(text);
  }

  const grant = async (isWanted: (kind: string) => boolean): Promise<void> => {
    await testbed.controlPlane.kubectl(['apply', '-f', '-'], {
      input: manifest((await permissions()).filter(({ kind }) => isWanted(kind))),
    });
  };

  it('names a permission that is missing', () =>
    saysSo(
      'The operator is not allowed to list convercuscredentials.convercus.io in the whole cluster',
    ));

  it('names the missing CRD', async () => {
    await grant((kind) => kind.startsWith('ClusterRole'));
    await saysSo('install the CRD');
  });

  it('names a permission on the Lease that is missing, while its caches are warm', async () => {
    await installCrd(testbed.controlPlane);
    await saysSo('The operator is not allowed to get leases.coordination.k8s.io');
    const said = await eventually(readiness, (it) => !it.includes('credentials'));
    expect(said).not.toContain('credentials');
  });

  it('goes on by itself as soon as all is there', async () => {
    await grant((kind) => kind.startsWith('Role'));
    expect(await eventually(readiness, (it) => it === 'ok\n')).toBe('ok\n');
    expect(operator.pid).toBe(pid);
  });
});
