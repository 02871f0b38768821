import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { type EpochMs, hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY, SETTINGS } from '../support/builders.ts';
import { KEY, SOURCE, TARGET, until, World } from '../support/world.ts';

/** A failure that ends by itself must not cost a token: it is tried again while the one in place is still good. */

const NEW = 'shop/new';
const REFUSED = new Failure('ClientSecretRejected', 'Not known yet');

let world: World;

beforeEach(() => {
  world = World.with();
  world.idp.validity = minutes(30);
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

/** Runs the reconciles of these credentials for so long; answers how long the token in `TARGET` was expired. */
async function expiredFor(
  length: Ms,
  keys: readonly string[] = [KEY],
  before: (elapsed: Ms) => void = () => undefined,
): Promise<Ms> {
  const start = world.clock.now();
  const due = new Map<string, EpochMs>(keys.map((key) => [key, start]));
  let expired = 0;
  for (let elapsed = 0; elapsed < length; elapsed += seconds(1)) {
    before(elapsed);
    if (expiryOf(TARGET) <= world.clock.now()) expired += seconds(1);
    for (const key of keys) await passWhileDue(key, due);
    world.clock.step(seconds(1));
  }
  return expired;
}

async function passWhileDue(key: string, due: Map<string, EpochMs>): Promise<void> {
  for (let count = 0; (due.get(key) ?? Infinity) <= world.clock.now(); count += 1) {
    if (count > 20) throw new Error('the reconciles follow each other too fast');
    const action = await world.reconcile(key);
    due.set(key, action === 'await-change' ? Infinity : action.requeueAt);
  }
}

const expiryOf = (target: string): EpochMs =>
  Date.parse(world.cluster.stored(target)?.annotations['convercus.io/expires-at'] ?? '');

describe('a refusal that several credentials share', () => {
  beforeEach(async () => {
    await world.reconcile();
    world.clock.step(minutes(10));
    world.cluster.putSecret(SOURCE, { data: { client_secret: `${CANARY}-rotated` } });
    world.cluster.put(aCredential({ metadata: { name: 'new' } }));
    world.idp.outage = REFUSED;
  });

  it('met first by one without a token makes no token of another expire', async () => {
    const expired = await expiredFor(minutes(60), [NEW, KEY], (elapsed) => {
      if (elapsed === minutes(16)) world.idp.outage = undefined;
    });

    expect(expired).toBe(0);
  });

  it('is tried again by each in time for its own token', async () => {
    const now = world.clock.now();
    expect(await world.reconcile(NEW)).toEqual({ requeueAt: now + minutes(15) });
    expect(await world.reconcile()).toEqual({ requeueAt: now + minutes(10) });
    expect(world.tokenRequests).toBe(2);
  });

  it('is tried again so by those who waited for the same request as well', async () => {
    const now = world.clock.now();
    const response = world.idp.hold();
    const actions = Promise.all([world.reconcile(NEW), world.reconcile()]);
    await until(() => world.waiting === 2);
    response();

    expect(await actions).toEqual([
      { requeueAt: now + minutes(15) },
      { requeueAt: now + minutes(10) },
    ]);
    expect(world.tokenRequests).toBe(2);
  });

  it('stands for one that comes later and has no token, until its time', async () => {
    const now = world.clock.now();
    await world.reconcile(NEW);
    world.clock.step(minutes(5));

    expect(await world.reconcile(NEW)).toEqual({ requeueAt: now + minutes(15) });
    expect(world.tokenRequests).toBe(2);
  });
});

describe('an API server that takes no status', () => {
  const DENIED = new Failure('PermissionDenied', 'The status may not be updated', {
    code: '403',
  });

  it.each([60, 120, 240, 1800])('makes no token of %d seconds expire', async (validity) => {
    world.idp.validity = seconds(validity);
    for (let times = 0; times < 1_000; times += 1) world.cluster.failNext('applyStatus', DENIED);

    expect(await expiredFor(minutes(90))).toBe(0);
  });

  it('makes the reconcile an error, with a line of its own at debug only', async () => {
    world.cluster.failNext('applyStatus', DENIED);
    expect(await world.reconcile()).toMatchObject({ isError: true });
    const levels = world.logged.filter(({ fields }) => fields?.['reason'] === 'PermissionDenied');
    expect(levels).toMatchObject([{ level: 'debug' }]);
    expect(await world.reconcile()).not.toHaveProperty('isError');
  });
});

describe('a redirect to a page that says "back in a minute"', () => {
  const REDIRECT = new Failure('UnexpectedRedirect', 'The endpoint redirects', { code: '302' });

  it('met by a renewal costs no token', async () => {
    const expired = await expiredFor(minutes(60), [KEY], (elapsed) => {
      if (elapsed === minutes(23)) world.idp.outage = REDIRECT;
      if (elapsed === minutes(25)) world.idp.outage = undefined;
    });

    expect(expired).toBe(0);
  });

  it('met by the first request is asked again after a quarter of an hour', async () => {
    world.idp.outage = REDIRECT;
    const action = await world.reconcile();
    expect(world.summary('Stalled')).toBe('True UnexpectedRedirect');
    world.idp.outage = undefined;
    await world.runFor(minutes(15), action);

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Stalled')).toBe('absent');
  });
});

it('a redirect after several other failures is asked again after a quarter of an hour, too', async () => {
  world.idp.outage = new Failure('ServerUnavailable', 'The server is unavailable');
  let action = await world.reconcile();
  for (let n = 0; n < 5; n += 1) {
    world.clock.step(action === 'await-change' ? 0 : action.requeueAt - world.clock.now());
    if (n === 4) world.idp.outage = new Failure('UnexpectedRedirect', 'The endpoint redirects');
    action = await world.reconcile();
  }
  const wait = action === 'await-change' ? Infinity : action.requeueAt - world.clock.now();
  expect(wait).toBeLessThanOrEqual(minutes(17));
});

describe('a failure that ends before the token does', () => {
  it.each([
    ['UnexpectedResponse', 210],
    ['TLSError', 210],
    ['NetworkError', 330],
    ['ShortLivedToken', 320],
    ['RealmNotFound', 300],
  ] as const)('%s for %d seconds costs no token', async (kind, down) => {
    const due = minutes(24);
    const expired = await expiredFor(minutes(45), [KEY], (elapsed) => {
      if (elapsed === due) world.idp.outage = new Failure(kind, 'For a while');
      if (elapsed === due + seconds(down)) world.idp.outage = undefined;
    });

    expect(expired).toBe(0);
  });

  it.each(['readSecret', 'applySecret'] as const)(
    'of the API server at %s costs none either',
    async (call) => {
      const due = minutes(24);
      let down = false;
      world.cluster.failWhile(call, () => down);
      const expired = await expiredFor(minutes(45), [KEY], (elapsed) => {
        down = elapsed >= due - seconds(1) && elapsed < due + seconds(320);
        if (elapsed === due - seconds(1)) world.restart();
      });

      expect(expired).toBe(0);
    },
  );

  it('of admission, which refuses the target, costs none either', async () => {
    const quota = new Failure('TargetRefused', 'exceeded quota: secrets');
    let down = false;
    world.cluster.failWhile('applySecret', () => down, quota);
    const expired = await expiredFor(minutes(45), [KEY], (elapsed) => {
      down = elapsed >= minutes(24) && elapsed < minutes(29);
    });

    expect(expired).toBe(0);
  });

  it('costs none while others keep looking at the credential', async () => {
    await world.reconcile();
    world.clock.step(minutes(24));
    world.idp.outage = REFUSED;
    const action = await world.reconcile();
    world.clock.step(minutes(2));
    expect(await world.reconcile()).toEqual(action);
  });
});

describe('a least time between renewals that is longer than a token is valid', () => {
  beforeEach(() => {
    const renewal = { ...SETTINGS.renewal, minimum: hours(24) };
    world.restart({ ...SETTINGS, renewal });
  });

  it('does not make tokens expire', async () => {
    expect(await expiredFor(minutes(90))).toBe(0);
    expect(world.tokenRequests).toBe(4);
  });

  it('does not keep a failing renewal from being tried again either', async () => {
    const expired = await expiredFor(minutes(60), [KEY], (elapsed) => {
      if (elapsed === minutes(20)) world.idp.outage = REFUSED;
      if (elapsed === minutes(28)) world.idp.outage = undefined;
    });
    expect(expired).toBe(0);
  });
});

describe('a session that can not be stored', () => {
  it('because a quota refuses it costs no token when that ends before the token does', async () => {
    world = World.withPassword();
    world.idp.validity = minutes(30);
    const quota = new Failure('TargetRefused', 'exceeded quota: secrets');
    let down = false;
    world.cluster.failWhile('applySecret', () => down, quota);
    const expired = await expiredFor(minutes(45), [KEY], (elapsed) => {
      down = elapsed >= minutes(20) && elapsed < minutes(29);
    });

    expect(expired).toBe(0);
    expect(world.idp.grants('password')).toBe(1);
  });
});

describe('a session that ends again and again', () => {
  it('is logged into once more before the token expires', async () => {
    world = World.withPassword();
    world.idp.validity = minutes(30);
    const expired = await expiredFor(minutes(100), [KEY], (elapsed) => {
      const isLost = [1, 2, 3].some((times) => elapsed === times * minutes(24) - minutes(1));
      if (isLost) world.idp.loseSessions();
    });

    expect(world.idp.grants('refresh_token')).toBeGreaterThanOrEqual(3);
    expect(world.eventSummaries).toContain('Warning SessionContention');
    expect(expired).toBe(0);
  });
});
