import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, rfc3339, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY, START } from '../support/builders.ts';
import type { Call } from '../support/fake-cluster.ts';
import { KEY, SESSION, SOURCE, settled, TARGET, until, World } from '../support/world.ts';

let world: World;

beforeEach(() => {
  world = World.with();
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

const token = () => world.cluster.stored(TARGET)?.data['token'];

const CALLS: Call[] = ['readSecretMeta', 'readSecret', 'applySecret', 'applyStatus'];

/** The watches have not shown the target, of which only a credential that had a token before asks the API server. */
function hideTarget(call: Call) {
  world.cluster.hide(TARGET);
  const status = call === 'readSecretMeta' ? { issuedAt: rfc3339(START - hours(9)) } : undefined;
  if (status !== undefined) world.cluster.put(aCredential({ status }));
  return status;
}

describe('an API server that fails', () => {
  it.each(CALLS)('once at %s costs a short wait, and is not told', async (call) => {
    const before = hideTarget(call);
    world.cluster.failNext(call);
    const action = await world.reconcile();
    expect(world.cluster.statusOf(KEY)).toEqual(before);
    await world.runFor(seconds(10), action);

    expect(token()).toBe(`${CANARY}-token-1`);
    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.eventSummaries).toEqual(['Normal TokenIssued']);
  });

  it.each(['applySecret', 'applyStatus'] as const)(
    'to answer %s, though it did it, costs no second token request',
    async (call) => {
      world.cluster.failNext(call, undefined, true);
      await world.runFor(seconds(10), await world.reconcile());

      expect(world.tokenRequests).toBe(1);
      expect(world.summary('Ready')).toBe('True TokenValid');
    },
  );

  it.each(['readSecretMeta', 'readSecret', 'applySecret'] as const)(
    'again and again at %s is said in the status, and forgotten when it is over',
    async (call) => {
      hideTarget(call);
      for (let times = 0; times < 4; times += 1) world.cluster.failNext(call);
      await world.reconcile();
      const action = await world.reconcile();
      expect(world.summary('Ready')).toBe('False ClusterUnavailable');
      expect(world.summary('Stalled')).toBe('absent');

      await world.runFor(minutes(2), action);
      expect(world.summary('Ready')).toBe('True TokenValid');
      expect(world.eventSummaries).toEqual(['Warning ClusterUnavailable', 'Normal Recovered']);
      expect(world.tokenRequests).toBe(1);
    },
  );

  it('waits longer and longer', async () => {
    const waits: number[] = [];
    for (let times = 0; times < 12; times += 1) {
      world.cluster.failNext('applyStatus');
      const action = await world.reconcile();
      if (action === 'await-change') throw new Error('never enqueued again');
      waits.push(action.requeueAt - world.clock.now());
    }

    expect(waits).toEqual(waits.toSorted((a, b) => a - b));
    expect(waits[0]).toBe(seconds(1));
    expect(waits.at(-1)).toBe(minutes(2.5));
  });

  it('while a token is in place does not make it less Ready', async () => {
    await world.reconcile();
    world.cluster.putSecret(TARGET, {
      annotations: world.cluster.stored(TARGET)?.annotations ?? {},
    });
    world.cluster.failNext('readSecret');
    world.cluster.failNext('readSecret');
    await world.reconcile();
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False ClusterUnavailable');
    expect(world.cluster.statusOf(KEY)?.tokenUrl).toBeDefined();
  });

  it('to store a refusal asks the token endpoint no second time', async () => {
    world.idp.outage = new Failure('RealmNotFound', 'There is no such realm');
    world.cluster.failNext('applyStatus');
    await world.runFor(minutes(1), await world.reconcile());

    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Ready')).toBe('False RealmNotFound');
  });

  it('because it refuses the target is tried ever more slowly with the same token', async () => {
    const quota = new Failure('TargetRefused', 'exceeded quota: secrets');
    const waits: number[] = [];
    for (let times = 0; times < 6; times += 1) {
      world.cluster.failNext('applySecret', quota);
      const action = await world.reconcile();
      if (action === 'await-change') throw new Error('never enqueued again');
      waits.push((action.requeueAt - world.clock.now()) / minutes(1));
    }

    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Ready')).toBe('False TargetRefused');
    expect(waits).toEqual([1, 2, 4, 8, 15, 15]);
  });

  it('because the credential is gone is left in peace', async () => {
    const release = world.idp.hold();
    const transient = world.reconcile();
    await until(() => world.tokenRequests > 0);
    world.cluster.remove(KEY);
    release();
    await transient;

    expect(world.eventSummaries).toEqual([]);
    expect(await world.reconcile()).toBe('await-change');
  });
});

describe('a target that was edited while it could not be read', () => {
  it('is repaired once it can be read', async () => {
    await world.reconcile();
    world.cluster.putSecret(TARGET, { data: { token: 'nonsense' } });
    world.cluster.failNext('readSecret');
    world.cluster.failNext('readSecret');
    const first = await world.reconcile();
    await world.runFor(seconds(30), first);
    expect(token()).toBe(`${CANARY}-token-1`);
  });
});

describe('a clock', () => {
  it('that jumps ahead leads to a renewal, not to an expired token', async () => {
    await world.reconcile();
    world.clock.jump(hours(2));
    await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('that jumps back leads to one renewal for all who share the credential', async () => {
    world.cluster.put(aCredential({ metadata: { name: 'second' } }));
    await world.reconcile();
    await world.reconcile('shop/second');
    world.clock.jump(-hours(2));
    for (const key of [KEY, 'shop/second', KEY, 'shop/second']) {
      world.clock.step(10);
      await world.reconcile(key);
    }

    expect(world.tokenRequests).toBe(2);
    expect(world.cluster.stored('shop/second-token')?.data['token']).toBe(token());
    expect(world.cluster.statusOf(KEY)?.issuedAt).toBe('2026-09-21T10:00:00Z');
  });

  it('that jumps back does not make a refusal stand for longer', async () => {
    world.idp.outage = new Failure('ServerUnavailable', 'Bad gateway');
    world.clock.jump(hours(24));
    await world.reconcile();
    world.clock.jump(-hours(24));
    world.idp.outage = undefined;
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('short-lived tokens', () => {
  it('are not published once they have expired', async () => {
    world.idp.validity = seconds(20);
    await world.reconcile();
    world.clock.step(seconds(25));
    world.cluster.removeSecret(TARGET);
    await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('are renewed no sooner than the minimum', async () => {
    world.idp.validity = seconds(20);
    await world.runFor(minutes(5), await world.reconcile());

    expect(world.tokenRequests).toBe(11);
  });
});

describe('many credentials', () => {
  it('that are new go before renewals, but not before a token that would expire meanwhile', async () => {
    const world = World.with();
    await world.runFor(minutes(4.5), await world.reconcile());
    const [first, renewal] = world.limiter.turns;

    expect(first?.deadline).toBe(START + minutes(1));
    expect(renewal?.deadline).toBe(START + minutes(5));
  });

  it('that present the same client credential share every request', async () => {
    const names = ['a', 'b', 'c', 'd'];
    for (const name of names) world.cluster.put(aCredential({ metadata: { name } }));
    await Promise.all(names.map((name) => world.reconcile(`shop/${name}`)));
    expect(world.tokenRequests).toBe(1);

    world.clock.step(minutes(4));
    await Promise.all(names.map((name) => world.reconcile(`shop/${name}`)));
    expect(world.tokenRequests).toBe(2);
    const tokens = names.map((name) => world.cluster.stored(`shop/${name}-token`)?.data['token']);
    expect(tokens).toEqual(names.map(() => `${CANARY}-token-2`));
  });

  it('renewed on request at once share one request too', async () => {
    const annotations = { 'convercus.io/renew-requested-at': 'now' };
    const names = ['a', 'b', 'c'];
    for (const name of names) world.cluster.put(aCredential({ metadata: { name } }));
    for (const name of names) await world.reconcile(`shop/${name}`);
    world.clock.step(minutes(1));
    for (const name of names) {
      world.cluster.annotate(`shop/${name}`, annotations);
      await world.reconcile(`shop/${name}`);
    }

    expect(world.tokenRequests).toBe(2);
  });
});

describe('a reconcile that is told to stop', () => {
  it('writes nothing more', async () => {
    const stop = new AbortController();
    world.idp.hold();
    const transient = world.reconcile(KEY, stop.signal);
    await until(() => world.tokenRequests > 0);
    stop.abort(new Error('the Lease is lost'));

    await expect(transient).rejects.toThrow('the Lease is lost');
    expect(world.cluster.requests.filter((each) => each.startsWith('apply'))).toEqual([]);
    expect(world.clock.timers).toBe(0);
  });

  it('does not even begin to ask for a token', async () => {
    await expect(world.reconcile(KEY, AbortSignal.abort(new Error('over')))).rejects.toThrow(
      'over',
    );
    expect(world.tokenRequests).toBe(0);
  });
});

describe('secrets', () => {
  it('stay out of everything that is shown, whatever happens', async () => {
    const odd = `${CANARY}"\\\n\u001b[31mü 100%&`;
    world.cluster.putSecret(SOURCE, { data: { client_secret: odd } });
    await world.reconcile();
    world.cluster.putSecret(SOURCE, { data: { other: odd } });
    await world.reconcile();
    world.cluster.putSecret(TARGET, { data: { token: odd }, controllerUid: 'theirs' });
    await world.reconcile();
    const target: ConvercusCredential['spec']['target'] = {
      ...aCredential().spec.target,
      data: { token: '{{client_secret}}' },
    };
    world.cluster.edit(KEY, (spec) => ({ ...spec, target }));
    await world.reconcile();

    expect(world.logged.length).toBeGreaterThan(2);
    expect(world.shown).not.toContain(CANARY);
  });
});

describe('a spec that becomes invalid while its token is on the way', () => {
  it.each(['client_credentials', 'password'] as const)(
    'leaves no response behind for which a stop would wait (%s)',
    async (grantType) => {
      world = World.withPassword({ spec: { grantType } });
      const release = world.idp.hold();
      await world.reconcileOnce(KEY);
      await until(() => world.idp.requests.length > 0);
      world.cluster.edit(KEY, (spec) => ({ ...spec, environment: 'nowhere' }));
      await world.reconcileOnce(KEY);
      world.enqueued.clear();
      release();
      const idle = world.idle();
      if (grantType === 'password') await until(() => world.enqueued.has(KEY));
      await world.reconcileOnce(KEY);
      await idle;

      expect(world.summary('Ready')).toBe('False InvalidSpec');
    },
  );
});

describe('a credentials Secret that is gone or faulty while the token is on the way', () => {
  it.each<[string, () => void]>([
    ['gone', () => world.cluster.removeSecret(SOURCE)],
    ['faulty', () => world.cluster.putSecret(SOURCE, { data: { client_secret: 'short' } })],
    [
      'faulty for another grant',
      () => world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'password' })),
    ],
  ])('leaves no response behind for which a stop would wait (%s)', async (_, spoil) => {
    const release = world.idp.hold();
    await world.reconcileOnce();
    await until(() => world.idp.requests.length > 0);
    spoil();
    await world.reconcileOnce();
    world.enqueued.clear();
    release();
    await settled();
    expect(await isIdle()).toBe(true);
    expect(world.enqueued).toEqual(new Set());
    expect(world.summary('Ready')).toMatch(/^False Input/);
  });

  it('loses no session', async () => {
    world = World.withPassword();
    const source = world.cluster.stored(SOURCE);
    await removeSourceInFlight(1);
    expect(await isIdle()).toBe(true);
    expect(world.cluster.stored(SESSION)).toBeDefined();
    expect(world.idp.liveSessions).toBe(1);
    world.cluster.putSecret(SOURCE, { data: { ...source?.data } });
    await world.reconcile();

    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('keeps no end of a session for which a stop would wait', async () => {
    world = World.withPassword();
    await world.reconcile();
    world.idp.loseSessions();
    world.clock.step(minutes(4));
    await removeSourceInFlight(2);

    expect(await isIdle()).toBe(true);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });
});

/** The credentials Secret goes while that request is in flight. Then its response comes. */
async function removeSourceInFlight(request: number): Promise<void> {
  const release = world.idp.hold();
  await world.reconcileOnce();
  await until(() => world.tokenRequests === request);
  world.cluster.removeSecret(SOURCE);
  await world.reconcileOnce();
  release();
  await until(() => world.enqueued.has(KEY));
  await world.reconcileOnce();
}

/** No response is left that has to be claimed before a stop. */
const isIdle = (): Promise<boolean> =>
  Promise.race([world.idle().then(() => true), settled().then(() => false)]);
