import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { digest } from '../../src/credential/credential.ts';
import { parseTime } from '../../src/lib/time.ts';

/** What an author of credentials, or who may write a Secret once, can't do. */
describe('a tenant', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  const secretWrites = async (since: number, { namespace }: Tenant): Promise<string[]> =>
    (await testbed.audit.since(since))
      .filter((each) => each.namespace === namespace && each.resource === 'secrets')
      .map(({ verb }) => verb)
      .filter((verb) => !/^(get|list|watch)$/.test(verb));

  it('gets no loop of writes by two credentials that are each the source of the other', async () => {
    const shop = await testbed.tenant();
    const source = (name: string, mergedBy: string) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, annotations: { 'convercus.io/merge': mergedBy } },
      stringData: { client_secret: shop.clientSecret },
    });
    await shop.apply(source('s1', 'y'), source('s2', 'x'));
    const before = await testbed.audit.length();
    const merged = (name: string, from: string, into: string) =>
      shop.credential(name, {
        credentialsSecretRef: { name: from },
        target: { name: into, creationPolicy: 'Merge', data: { [name]: '{{access_token}}' } },
      });
    await merged('x', 's1', 's2');
    await merged('y', 's2', 's1');
    await sleep(10_000);

    expect((await secretWrites(before, shop)).length).toBeLessThanOrEqual(2);
    const renewed = await Promise.all(['x', 'y'].map((name) => shop.conditions(name)));
    expect(renewed.map(({ Renewed }) => Renewed)).toContain('False/InputInvalid');
    expect(shop.requests().length).toBe(1);
  });

  it('has a token of its own replaced that is renewed in 2099', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const expiresAt = '2099-01-01T00:00:00Z';
    const renewAt = '2098-01-01T00:00:00Z';
    const { annotations = {} } = (await shop.target('loyalty-token'))?.metadata ?? {};
    const dates = [annotations['convercus.io/issued-at'], expiresAt, renewAt].map(parseTime);
    const forged = {
      metadata: {
        annotations: {
          'convercus.io/expires-at': expiresAt,
          'convercus.io/renew-at': renewAt,
          'convercus.io/content-hash': digest([{ token: 'forged' }, ...dates]),
        },
      },
      stringData: { token: 'forged' },
    };
    await shop.kubectl('patch', 'secret', 'loyalty-token', '-p', JSON.stringify(forged));

    await eventually(
      () => shop.file('loyalty-token'),
      (file) => file !== 'forged',
    );
    expect(await shop.file('loyalty-token')).not.toBe('forged');
    const { metadata } = (await shop.target('loyalty-token')) ?? {};
    const found = parseTime(metadata?.annotations?.['convercus.io/expires-at']);
    expect(found).toBeLessThan(Date.now() + 24 * 3_600_000);
    expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'True/TokenValid' });
  });

  it.each([
    ['kubernetes.io/service-account-token', 'kubernetes.io/service-account-token'],
    ['helm.sh/release.v1', 'helm.sh/*'],
  ])('can not have a Secret of the type %s presented', async (type, named) => {
    const shop = await testbed.tenant();
    await shop.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name: 'theirs',
        annotations: { 'kubernetes.io/service-account.name': 'default' },
      },
      type,
      stringData: { client_secret: shop.clientSecret },
    });
    await shop.credential('loyalty', { credentialsSecretRef: { name: 'theirs' } });
    const conditions = await eventually(
      () => shop.conditions('loyalty'),
      ({ Renewed }) => Renewed !== undefined,
    );

    expect(conditions).toMatchObject({
      Renewed: 'False/InputInvalid',
      Stalled: 'True/InputInvalid',
    });
    expect(await shop.message('loyalty', 'Renewed')).toContain(`is of the type ${named}, which`);
    expect(shop.requests()).toEqual([]);
  });

  it('may keep credentials in a Secret of the type kubernetes.io/basic-auth', async () => {
    const shop = await testbed.tenant();
    await shop.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'login' },
      type: 'kubernetes.io/basic-auth',
      stringData: {
        client_secret: shop.clientSecret,
        username: 'api-user',
        password: shop.password,
      },
    });
    await shop.credential('loyalty', {
      grantType: 'password',
      credentialsSecretRef: { name: 'login' },
    });
    await shop.ready('loyalty');
    expect(shop.requests()).toEqual(['password 200']);
  });
});
