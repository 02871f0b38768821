import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { proxies } from '../../dev/keycloak/dialect/faults.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { credentialObject, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';

/** What one tenant does to the requests of another. The limits are those by default. */
describe('one tenant', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  const untilReady = async (tenant: Tenant, name: string): Promise<number> => {
    const start = performance.now();
    await tenant.ready(name);
    return (performance.now() - start) / 1_000;
  };

  it('whose realm is told to come back in an hour delays no other realm', async () => {
    const [limited, other] = [await testbed.tenant(), await testbed.tenant()];
    testbed.provider.faults.add({ realm: limited.realm, ...proxies.tooManyRequests('3600') });
    await limited.credential('loyalty');
    await eventually(
      () => limited.conditions('loyalty'),
      ({ Renewed }) => Renewed === 'False/RateLimited',
    );
    await other.credential('loyalty');
    expect(await untilReady(other, 'loyalty')).toBeLessThan(20);

    // Not sent: the realm is paused, whatever is presented
    await limited.credential('another', { scope: 'openid email' });
    await other.credential('another', { scope: 'openid email' });
    await other.ready('another');
    expect(limited.requests()).toEqual(['client_credentials 429']);
  }, 180_000);

  it('that presents 300 wrong passwords of a user delays a login of that user elsewhere by seconds', async () => {
    const shop = await testbed.tenant();
    const crowd = await testbed.tenant();
    const user = { client_secret: shop.clientSecret, username: 'api-user' };
    const wrong = Array.from({ length: 300 }, (_, n) => [
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: `source-${n}` },
        stringData: { ...user, password: `wrong-password-${n}` },
      },
      credentialObject(`wrong-${n}`, {
        program: shop.program,
        grantType: 'password',
        credentialsSecretRef: { name: `source-${n}` },
      }),
    ]);
    await crowd.apply(...wrong.flat());
    await eventually(
      async () => shop.requests(),
      (requests) => requests.some((request) => request.startsWith('password 4')),
    );
    await shop.secret('login', { ...user, password: shop.password });
    await shop.credential('loyalty', {
      grantType: 'password',
      credentialsSecretRef: { name: 'login' },
    });
    expect(await untilReady(shop, 'loyalty')).toBeLessThan(30);

    const renewed = '{range .items[*]}{.status.conditions[?(@.type=="Renewed")]}{"\\n"}{end}';
    const conditions = await eventually(
      async () =>
        (await crowd.kubectl('get', 'convcred', '-o', `jsonpath=${renewed}`)).trim().split('\n'),
      (lines) => lines.filter((line) => line.includes('"status":"False"')).length === 300,
      120,
    );
    const having = (reason: string) =>
      conditions.filter((line) => line.includes(`"reason":"${reason}"`));
    expect(having('CredentialsRejected')).toHaveLength(3);
    expect(having('Throttled')).toHaveLength(297);
    expect(having('Throttled')[0]).toMatch(
      /"3 different passwords of this user were rejected within 15 minutes .*presented before 20..-/,
    );
    const failed = shop.requests().filter((request) => request.startsWith('password 4'));
    expect(failed).toHaveLength(3);
  }, 300_000);
});
