import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { proxies } from '../../dev/keycloak/dialect/faults.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { EARLY } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

/** While the provider, the API server or the operator is away. */
describe('the operator', () => {
  let testbed: Testbed;

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  it('keeps the last good token through an outage of the provider, says when it expires, and recovers', async () => {
    const shop = await testbed.tenant({ accessTokenLifespan: 15 });
    await shop.credential('loyalty', EARLY);
    await shop.ready('loyalty');
    const mend = testbed.provider.faults.add({ realm: shop.realm, ...proxies.badGateway });
    const failing = await eventually(
      () => shop.conditions('loyalty'),
      ({ Renewed }) => Renewed?.startsWith('False') === true,
    );
    expect(failing).toMatchObject({ Ready: 'True/TokenValid', Renewed: 'False/ServerUnavailable' });
    const text = await shop.token('loyalty-token');
    const expired = await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready === 'False/TokenExpired',
    );
    // Throttled: its next try waits for a turn at that moment, because the realm is paused
    expect(expired).toMatchObject({
      Ready: 'False/TokenExpired',
      Renewed: expect.stringMatching(/^False\/(ServerUnavailable|Throttled)$/),
    });
    expect(await shop.file('loyalty-token')).toBe(text);
    mend();
    // By itself it tries again after up to minutes, a random time
    await shop.kubectl('annotate', 'convcred', 'loyalty', 'convercus.io/renew-requested-at=mended');
    await shop.ready('loyalty');
    expect(await shop.file('loyalty-token')).not.toBe(text);
  });

  it('requests nothing and writes nothing after a restart while tokens are valid', async () => {
    const shop = await testbed.tenant();
    for (const name of ['one', 'two', 'three']) await shop.credential(name);
    await shop.kubectl('wait', '--for=condition=Ready', 'convcred', '--all', '--timeout=90s');
    const requestsBefore = shop.requests().length;
    await testbed.operator.kill();
    const before = await testbed.audit.length();
    await testbed.operator.run();
    await shop.credential('four'); // its token shows that the reconciles of the others are over
    await shop.ready('four');
    const mine = (await testbed.audit.since(before)).filter(
      ({ namespace }) => namespace === shop.namespace,
    );
    const writes = mine.filter(({ verb }) => verb !== 'list' && verb !== 'get');
    expect(
      writes
        .filter(({ name }) => !name?.startsWith('four'))
        .filter(({ resource }) => resource !== 'events'),
    ).toEqual([]);
    expect(shop.requests().length).toBe(requestsBefore + 1);
  });

  it('lives through an API server that goes away, and renews at once when it is back', async () => {
    const shop = await testbed.tenant({ accessTokenLifespan: 8 });
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    const text = await shop.token('loyalty-token');
    await testbed.controlPlane.stopApiServer(0);
    await new Promise((resolve) => setTimeout(resolve, 9_000));
    await testbed.controlPlane.startApiServer();
    const renewed = await eventually(
      () => shop.file('loyalty-token'),
      (file) => file !== undefined && file !== text,
    );
    expect(renewed).not.toBe(text);
    await shop.ready('loyalty');
  });

  it('has let no secret and no token out of Secrets', async () => {
    expect(testbed.tokens.length).toBeGreaterThan(0);
    await expectNoLeaks(testbed);
  });
});
