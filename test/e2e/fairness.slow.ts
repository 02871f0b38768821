import { expect, it } from '@jest/globals';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import { credentialObject, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';

const SCOPES = [
  'openid',
  'email',
  'profile',
  'phone',
  'address',
  'organization',
  'microprofile-jwt',
];

/** The scopes in another order for each number: each is a request of its own. */
function scopeOf(number: number): string {
  const left = [...SCOPES];
  let rest = number;
  const words = SCOPES.map(() => {
    const [word] = left.splice(rest % left.length, 1);
    rest = Math.floor(rest / (left.length + 1));
    return word;
  });
  return words.join(' ');
}

const credentialsOf = ({ program }: Tenant, count: number): object[] =>
  Array.from({ length: count }, (_, n) =>
    credentialObject(`loyalty-${n}`, { program, scope: scopeOf(n) }),
  );

/**
 * The limits are those by default: 5 requests a second. 20 tokens of five minutes come due four minutes after their
 * issue, when a good part of 1,500 new credentials of another tenant, created a minute before, still wait.
 */
it('1,500 new credentials of one tenant let no token of another expire', async () => {
  await using testbed = await Testbed.start();
  const shop = await testbed.tenant({ accessTokenLifespan: 300 });
  await shop.apply(...credentialsOf(shop, 20));
  await shop.kubectl('wait', '--for=condition=Ready', 'convcred', '--all', '--timeout=90s');
  const firstIssue = Math.min(...testbed.provider.log.entries.map(({ time }) => time));
  await new Promise((resolve) => setTimeout(resolve, 60_000));

  const crowd = await testbed.tenant();
  const args = ['create', '-n', crowd.namespace, '-f', '-'];
  await testbed.controlPlane.kubectl(args, { input: manifest(credentialsOf(crowd, 1_500)) });
  await eventually(
    async () => shop.requests().length,
    (count) => count >= 40,
    300,
  );
  const served = crowd.requests().length;
  const times = testbed.provider.log.entries
    .filter(({ realm }) => realm === shop.realm)
    .map(({ time }) => time);
  console.log(
    `the last of 20 renewals came ${((times[39] ?? Number.NaN) - firstIssue) / 1_000} s after the first issue; ${served} new credentials were served by then`,
  );
  expect(times.length).toBe(40);
  expect(Math.max(...times)).toBeLessThan(firstIssue + 300_000);
  // Some still waited while the tokens were renewed
  expect(served).toBeLessThan(1_450);
  expect(await shop.kubectl('get', 'events.v1.events.k8s.io')).not.toContain('TokenExpired');

  const total = await eventually(
    async () => crowd.requests().length,
    (count) => count >= 1_500,
    200,
  );
  expect(total).toBeGreaterThanOrEqual(1_000);
  expect(new Set(crowd.requests())).toEqual(new Set(['client_credentials 200']));
  const all = await shop.kubectl(
    'get',
    'convcred',
    '-o',
    'jsonpath={.items[*].status.conditions[*].reason}',
  );
  expect(all).not.toContain('TokenExpired');
}, 1_200_000);
