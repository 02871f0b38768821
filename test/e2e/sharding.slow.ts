import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import type { Operator } from '../../dev/testbed/operator.ts';
import { credentialObject, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';

const release = (shard: string) => ({
  watch: { selector: `shard=${shard}` },
  leaderElection: { enabled: false },
});

/** Two releases of the operator, as docs/scaling.md describes them. */
describe('two operators with disjoint selectors', () => {
  let testbed: Testbed;
  let second: Operator;
  let shop: Tenant;

  beforeAll(async () => {
    testbed = await Testbed.start({ operators: [release('one')] });
    second = await testbed.startOperator({ config: release('two') });
    shop = await testbed.tenant({ accessTokenLifespan: 10 });
    await apply('a', 'one');
    await apply('b', 'two');
    await shop.ready('a');
    await shop.ready('b');
  }, 600_000);

  afterAll(() => testbed?.stop());

  async function apply(
    name: string,
    shard: string,
    { target = {}, tenant = shop }: { target?: object; tenant?: Tenant } = {},
  ): Promise<void> {
    const object = credentialObject(name, { program: tenant.program }, target);
    await tenant.apply({ ...object, metadata: { name, labels: { shard } } });
  }

  const credentialsOf = async (operator: Operator): Promise<string[]> => {
    const samples = (await operator.get('/metrics')).matchAll(
      /^convercus_credential_ready.*name="([^"]*)"/gm,
    );
    return [...samples].map(([, name = '']) => name);
  };

  const countIn = (text: string, metric: string): number => {
    const samples = [...text.matchAll(new RegExp(`^${metric}(?:\\{[^}]*\\})? (.*)$`, 'gm'))];
    return samples.reduce((sum, [, value]) => sum + Number(value), 0);
  };

  it('know only their own credentials, and each renews them alone', async () => {
    const metrics = () => Promise.all([testbed.operator, second].map((it) => it.get('/metrics')));
    const texts = await eventually(metrics, (all) =>
      all.every((text) => countIn(text, 'convercus_renewals_total') >= 3),
    );
    expect(await credentialsOf(testbed.operator)).toEqual(['a']);
    expect(await credentialsOf(second)).toEqual(['b']);
    for (const text of texts) {
      const renewals = countIn(text, 'convercus_renewals_total');
      const requests = countIn(text, 'convercus_token_requests_total');
      expect(renewals).toBeGreaterThanOrEqual(3);
      expect(requests).toBeGreaterThanOrEqual(renewals);
      expect(requests).toBeLessThanOrEqual(renewals + 1); // one may be under way
    }
    const owners = await Promise.all(['a-token', 'b-token'].map((name) => shop.target(name)));
    expect(owners.map((it) => it?.metadata.labels?.['convercus.io/credential'])).toEqual([
      'a',
      'b',
    ]);
  });

  it('do not take each other the target, though neither sees the claim of the other', async () => {
    await apply('c', 'two', { target: { name: 'a-token' } });
    const conditions = await eventually(
      () => shop.conditions('c'),
      (seen) => seen['Ready'] !== undefined,
    );
    expect(conditions['Ready']).toBe('False/TargetNotOurs');
    expect((await shop.target('a-token'))?.metadata.labels?.['convercus.io/credential']).toBe('a');
  });

  it('hand a credential over when its label changes, without a token request', async () => {
    const depot = await testbed.tenant(); // its tokens outlast the test
    await apply('d', 'one', { tenant: depot });
    await depot.ready('d');
    const issuedAt = async () =>
      (await depot.target('d-token'))?.metadata.annotations?.['convercus.io/issued-at'];
    const before = await issuedAt();
    await depot.kubectl('label', 'convcred', 'd', 'shard=two', '--overwrite');
    const known = () => credentialsOf(second);
    expect(await eventually(known, (names) => names.includes('d'))).toContain('d');
    const ofTheFirst = () => credentialsOf(testbed.operator);
    expect(await eventually(ofTheFirst, (names) => !names.includes('d'))).not.toContain('d');
    expect(await issuedAt()).toBe(before);
  });
});
