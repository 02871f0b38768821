import { describe, expect, it } from '@jest/globals';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { NotBeforePolicies } from '../../src/tokens/not-before-policies.ts';
import { aCredential, aToken, START } from '../support/builders.ts';
import { KEY, until, World } from '../support/world.ts';

const URL = 'https://auth.test/realms/abc/token';

describe('a not-before policy', () => {
  it('voids what was asked for earlier, once per raise', () => {
    const raised: string[] = [];
    const notBeforePolicies = new NotBeforePolicies((url) => raised.push(url));
    notBeforePolicies.learn(URL, aToken());
    expect(notBeforePolicies.validFrom(URL, START + minutes(2))).toBe(0);
    const bearer = aToken({ issuedAt: START + minutes(1), notBefore: START + seconds(30) });
    notBeforePolicies.learn(URL, bearer);
    notBeforePolicies.learn(URL, bearer);

    expect(raised).toEqual([URL]);
    expect(notBeforePolicies.validFrom(URL, START + minutes(2))).toBe(START + seconds(30));
    expect(notBeforePolicies.validFrom('https://auth.test/realms/xyz/token', START)).toBe(0);
  });

  it('far in the future hides no later one', () => {
    const raised: string[] = [];
    const notBeforePolicies = new NotBeforePolicies((url) => raised.push(url));
    const issuedAt = START + minutes(1);
    notBeforePolicies.learn(URL, aToken({ issuedAt, notBefore: START + hours(1_000) }));
    expect(notBeforePolicies.validFrom(URL, issuedAt)).toBe(0);
    notBeforePolicies.learn(URL, aToken({ issuedAt, notBefore: START + seconds(30) }));
    expect(raised).toEqual([URL]);
    expect(notBeforePolicies.validFrom(URL, issuedAt)).toBe(START + seconds(30));
  });

  it('of a clock behind ours voids what was asked for before it was raised', () => {
    const notBeforePolicies = new NotBeforePolicies(() => undefined);
    const lag = minutes(10);
    const raisedAt = START + minutes(5);
    const issuedAt = START + minutes(6);
    const news = { issuedAt, notBefore: raisedAt - lag, clockLag: lag + seconds(1) };
    notBeforePolicies.learn(URL, aToken(news));
    expect(notBeforePolicies.validFrom(URL, issuedAt)).toBe(raisedAt + seconds(1));

    notBeforePolicies.learn(
      URL,
      aToken({ ...news, issuedAt: issuedAt + 1, clockLag: lag + seconds(9) }),
    );
    expect(notBeforePolicies.validFrom(URL, issuedAt)).toBe(raisedAt + seconds(1));
  });

  it('never voids the token that tells of it, however far behind the clock is', () => {
    const notBeforePolicies = new NotBeforePolicies(() => undefined);
    notBeforePolicies.learn(URL, aToken({ notBefore: START - hours(1), clockLag: hours(5) }));
    expect(notBeforePolicies.validFrom(URL, START)).toBe(START);
  });

  it('of a clock ahead of ours voids nothing that was asked for after the news', () => {
    const notBeforePolicies = new NotBeforePolicies(() => undefined);
    notBeforePolicies.learn(URL, aToken({ notBefore: START + minutes(5) }));
    expect(notBeforePolicies.validFrom(URL, START + minutes(2))).toBe(START);
    notBeforePolicies.learn(URL, aToken({ issuedAt: START + 1, notBefore: START + minutes(5) }));

    expect(notBeforePolicies.validFrom(URL, START + minutes(2))).toBe(START);
  });
});

describe('a raised not-before policy', () => {
  it('is heeded by who joins a request that was sent before the news came', async () => {
    const world = World.with();
    world.cluster.put(aCredential({ metadata: { name: 'twin' } }));
    world.cluster.put(aCredential({ metadata: { name: 'other' }, spec: { scope: 'openid more' } }));
    for (const name of ['loyalty', 'twin', 'other']) await world.reconcile(`shop/${name}`);
    world.clock.step(minutes(4));
    const release = world.idp.hold();
    const first = world.reconcile();
    await until(() => world.tokenRequests === 3);
    world.clock.step(seconds(2));
    const news = aToken({ issuedAt: world.clock.now(), notBefore: world.clock.now() });
    world.source = () => Promise.resolve(news);
    await world.reconcile('shop/other');
    world.source = world.idp.response;
    const second = world.reconcile('shop/twin');
    release();
    await first;
    await world.runFor(seconds(10), await second, 'shop/twin');

    expect(world.tokenRequests).toBe(4);
    expect(world.cluster.statusOf('shop/twin')?.issuedAt).toBe('2026-09-21T12:04:02Z');
  });

  it('renews once when the clock is set back behind it', async () => {
    const world = World.with();
    world.idp.notBefore = START;
    await world.reconcile();
    world.clock.jump(-hours(1));
    await world.runFor(minutes(1), await world.reconcile());
    await world.reconcile();

    expect(world.tokenRequests).toBe(2);
  });

  it('renews every credential of the realm whose token is older', async () => {
    const world = World.with();
    world.cluster.put(aCredential({ metadata: { name: 'other' }, spec: { scope: 'openid more' } }));
    await world.reconcile();
    world.clock.step(minutes(1));
    world.idp.notBefore = world.clock.now();
    await world.reconcile('shop/other');
    const [tokenUrl] = world.revoked;
    expect(tokenUrl).toContain('/realms/abc-staging/');
    await world.reconcile();

    expect(world.tokenRequests).toBe(3);
    expect(world.summary('Renewed')).toBe('True RevokedByProvider');
    await world.reconcile();
    await world.reconcile('shop/other');
    expect(world.tokenRequests).toBe(3);
    expect(world.cluster.statusOf(KEY)?.issuedAt).toBe('2026-09-21T12:01:00Z');
  });
});
