import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

/** What is kept of a token in its target: over a restart, an edit and a backup. */
describe('the operator', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  const editTarget = (shop: Tenant, spec: object): Promise<string> =>
    shop.kubectl('patch', 'convcred', 'loyalty', '--type=merge', '-p', JSON.stringify({ spec }));

  const metadataOf = async (shop: Tenant, name = 'loyalty-token') =>
    (await shop.target(name))?.metadata;

  /** As Velero does it: an object that is gone comes back with what it held, but for its uid and owner. */
  async function restore(shop: Tenant, kind: string, name: string): Promise<void> {
    const found = JSON.parse(await shop.kubectl('get', kind, name, '-o', 'json'));
    const { labels, annotations } = found.metadata;
    const { status: _, ...rest } = found;
    await shop.kubectl('delete', kind, name);
    // Without an annotation of `kubectl apply`, which would hold the data
    const input = JSON.stringify({ ...rest, metadata: { name, labels, annotations } });
    const args = ['create', '-n', shop.namespace, '-f', '-'];
    await testbed.controlPlane.kubectl(args, { input });
  }

  it('writes labels, annotations and renewal after a restart, and asks for no token', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const before = await shop.token('loyalty-token');
    await testbed.crash();
    await testbed.operator.run();

    await editTarget(shop, { target: { labels: { team: 'shop' }, annotations: { note: 'x' } } });
    const labelled = await eventually(
      () => metadataOf(shop),
      (metadata) => metadata?.labels?.['team'] === 'shop',
    );
    expect(labelled?.annotations).toMatchObject({
      note: 'x',
      'reloader.stakater.com/ignore': 'true',
    });
    const renewAt = labelled?.annotations?.['convercus.io/renew-at'];
    await editTarget(shop, { renewal: { percent: 50, jitterPercent: 0 } });
    await eventually(
      () => metadataOf(shop),
      (metadata) => metadata?.annotations?.['convercus.io/renew-at'] !== renewAt,
    );

    expect(await shop.token('loyalty-token')).toBe(before);
    expect(shop.requests()).toEqual(['client_credentials 200']);
  });

  it('adopts a target that is restored, with the token in it', async () => {
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const before = await shop.token('loyalty-token');
    await testbed.crash();
    await restore(shop, 'secret', 'loyalty-token');
    expect((await metadataOf(shop))?.ownerReferences).toBeUndefined();
    await testbed.operator.run();

    const { uid } = (await shop.get('loyalty')).metadata;
    const adopted = await eventually(
      () => metadataOf(shop),
      (metadata) => metadata?.ownerReferences?.[0]?.uid === uid,
    );
    expect(adopted?.ownerReferences).toMatchObject([{ uid, controller: true }]);
    expect(await shop.token('loyalty-token')).toBe(before);
    expect(shop.requests()).toEqual(['client_credentials 200']);
  });

  it('adopts the target of a credential that is restored as well, but does not use its session', async () => {
    const shop = await testbed.tenant();
    await shop.secret('login', {
      client_secret: shop.clientSecret,
      username: 'api-user',
      password: shop.password,
    });
    await shop.credential('loyalty', {
      grantType: 'password',
      credentialsSecretRef: { name: 'login' },
    });
    await shop.ready('loyalty');
    await shop.token('loyalty-token');
    const session = await metadataOf(shop, 'loyalty-session');
    expect(session?.labels?.['velero.io/exclude-from-backup']).toBe('true');
    await testbed.crash();
    await restore(shop, 'convercuscredential', 'loyalty');
    for (const name of ['login', 'loyalty-token', 'loyalty-session']) {
      await restore(shop, 'secret', name);
    }
    await testbed.operator.run();

    await shop.ready('loyalty');
    const { uid } = (await shop.get('loyalty')).metadata;
    expect((await metadataOf(shop))?.ownerReferences).toMatchObject([{ uid }]);
    const logins = shop.requests().filter((line) => line !== 'logout 204');
    expect(logins).toEqual(['password 200', 'password 200']);
    await shop.token('loyalty-token');
  });

  it('takes the client id from the credentials Secret', async () => {
    const shop = await testbed.tenant();
    await shop.secret('convercus-abc', {
      client_id: 'machine-2-machine',
      client_secret: shop.clientSecret,
    });
    await shop.credential('loyalty', { suspend: true });
    const { keys } = (await shop.get('loyalty')).spec.credentialsSecretRef;
    const source = { name: 'convercus-abc', keys: { ...keys, clientId: 'client_id' } };
    await shop.credential('loyalty', {
      clientId: 'unknown',
      credentialsSecretRef: source,
      suspend: false,
    });
    await shop.ready('loyalty');
    await shop.token('loyalty-token');
    expect(shop.requests()).toEqual(['client_credentials 200']);
  });

  it('has let no secret and no token out of Secrets', () => expectNoLeaks(testbed));
});
