import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import type { Ticket } from '../../src/tokens/deadline-queue.ts';
import type { HostLimits } from '../../src/tokens/host-limiter.ts';
import { HostLimiters } from '../../src/tokens/host-limiters.ts';
import type { Outcome } from '../../src/tokens/outcome.ts';
import { aTicket } from '../support/builders.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

const HOST = 'auth.example';
const UNLIMITED: HostLimits = {
  requestsPerSecond: 0,
  burst: 1,
  concurrency: 99,
  passwordLoginsPerSecond: 0,
};

let clock: FakeClock;
let limiter: HostLimiters;
let started: [string, Ms][];

function start(limits: Partial<HostLimits> = {}): void {
  clock = new FakeClock();
  limiter = new HostLimiters({ ...UNLIMITED, ...limits }, clock, () => 0);
  started = [];
}

beforeEach(() => start());

interface Options extends Partial<Ticket> {
  readonly takes?: Ms;
  readonly outcome?: Outcome;
}

/** A request to the realm of its first letter. */
function ask(name: string, { takes = 0, outcome = 'responded', ...ticket }: Options = {}) {
  const whole = aTicket({ realm: name.charAt(0), ...ticket });
  const task = async () => {
    started.push([name, clock.monotonic()]);
    if (takes > 0) await new Promise<void>((resolve) => clock.after(takes, resolve));
    limiter.report(HOST, whole, outcome);
  };
  return limiter.run(HOST, whole, task, new AbortController().signal);
}

const pause = (realm: string, length: Ms): void =>
  limiter.pause(HOST, aTicket({ realm }), clock.now() + length);

async function fail(...realms: string[]): Promise<void> {
  for (const realm of realms) await ask(realm, { outcome: 'unreachable' });
  started = [];
}

const expiring = (left: Ms) => ({ deadline: clock.now() + left, expiresAt: clock.now() + left });

describe('a realm that asks for patience', () => {
  it('is left alone for five minutes at most, and no other realm of its host is', async () => {
    pause('a', hours(1));
    void ask('a');
    void ask('b');
    await clock.advance(minutes(6));

    expect(started).toEqual([
      ['b', 0],
      ['a', minutes(5)],
    ]);
  });

  it('gets back what waits for the host already', async () => {
    start({ concurrency: 1 });
    void ask('b1', { takes: 100 });
    for (const name of ['a1', 'a2', 'b2']) void ask(name);
    pause('a', minutes(1));
    await clock.advance(minutes(2));

    expect(started).toEqual([
      ['b1', 0],
      ['b2', 100],
      ['a1', minutes(1)],
      ['a2', minutes(1)],
    ]);
  });

  it('gets half the rate afterwards, the others all of it', async () => {
    start({ requestsPerSecond: 4 });
    pause('a', seconds(1));
    await clock.advance(seconds(1));
    for (let n = 0; n < 100; n += 1) void ask(`a${n}`);
    await clock.advance(seconds(10) - 1);
    expect(started.length).toBe(20);
    for (let n = 0; n < 100; n += 1) void ask(`b${n}`, { deadline: 1 });
    await clock.advance(seconds(10));

    expect(started.filter(([name]) => name.startsWith('a')).length).toBe(40);
    expect(started.length).toBeGreaterThanOrEqual(60);
  });

  it.each<[string, () => Partial<Ticket>]>([
    ['newcomers', () => ({})],
    ['renewals that are urgent', () => expiring(seconds(100))],
  ])('lets the namespaces of %s take turns while others wait as well', async (_, kind) => {
    start({ requestsPerSecond: 2 });
    pause('a', seconds(1));
    await clock.advance(seconds(1));
    for (const namespace of ['x', 'y', 'x', 'y', 'x', 'y']) {
      const others = kind().expiresAt === undefined ? expiring(hours(1)) : {};
      void ask('a other', { namespaces: new Set(['z']), ...others });
      void ask(`a ${namespace}`, { namespaces: new Set([namespace]), ...kind() });
    }
    await clock.advance(seconds(20));

    const turns = started.map(([name]) => name).filter((name) => name !== 'a other');
    expect(turns).toEqual(['a x', 'a y', 'a x', 'a y', 'a x', 'a y']);
  });

  it('keeps no renewal waiting behind a log-out that waits for the host', async () => {
    start({ requestsPerSecond: 1 });
    pause('a', seconds(1));
    void ask('b1');
    await clock.advance(seconds(1) - 1);
    void ask('a logout', { namespaces: new Set() });
    for (const name of ['b2', 'b3', 'b4', 'b5']) void ask(name);
    await clock.advance(seconds(1));
    void ask('a renewal', expiring(hours(1)));
    await clock.advance(seconds(9));

    expect(started.map(([name]) => name)).toEqual(
      expect.arrayContaining(['b5', 'a renewal', 'a logout']),
    );
    expect(started.at(-1)?.[0]).toBe('a logout');
    expect(started.findIndex(([name]) => name === 'a renewal')).toBeLessThanOrEqual(3);
  });

  it('keeps no urgent renewal waiting behind one that has time and waits for the host', async () => {
    start({ requestsPerSecond: 1 });
    pause('a', seconds(1));
    await clock.advance(seconds(1));
    for (let n = 0; n < 60; n += 1) void ask(`b${n}`, expiring(hours(1)));
    void ask('a has time', expiring(hours(2)));
    await clock.advance(seconds(5));
    void ask('a urgent', expiring(seconds(30)));
    await clock.advance(minutes(2));

    expect(started.findIndex(([name]) => name === 'a urgent')).toBeLessThanOrEqual(7);
    expect(started.length).toBe(62);
  });

  it('never delays another realm, whatever it does', async () => {
    const request = fc.record({
      at: fc.integer({ min: 0, max: 60_000 }),
      realm: fc.constantFrom('a', 'b', 'b', 'c'),
      takes: fc.integer({ min: 0, max: 10_000 }),
      outcome: fc.constantFrom('responded', 'refused', 'unreachable'),
      pauses: fc.integer({ min: 0, max: 600_000 }),
      login: fc.boolean(),
      left: fc.option(fc.integer({ min: -1_000, max: 600_000 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 30 }), async (requests) => {
        start();
        const late: string[] = [];
        for (const { at, realm, takes, outcome, pauses, login, left } of requests) {
          clock.after(at, () => {
            const expiresAt = left === undefined ? undefined : clock.now() + left;
            const ticket = aTicket({ realm, login, expiresAt });
            const task = async () => {
              if (realm !== 'a' && clock.monotonic() > at) late.push(`${realm} of ${at}`);
              await new Promise<void>((resolve) => clock.after(takes, resolve));
              if (realm === 'a' && outcome === 'refused') {
                limiter.pause(HOST, ticket, clock.now() + pauses);
              }
              limiter.report(HOST, ticket, realm === 'a' ? outcome : 'responded');
            };
            void limiter.run(HOST, ticket, task, new AbortController().signal);
          });
        }
        await clock.advance(hours(2));
        expect([late, clock.timers]).toEqual([[], 0]);
        expect(limiter.snapshot().every(({ queued }) => queued === 0)).toBe(true);
      }),
      { numRuns: runs(1_000) },
    );
  }, 60_000);
});

describe('a host of which two realms ask for patience', () => {
  beforeEach(() => {
    pause('a', hours(1));
    pause('b', hours(1));
  });

  it('is left alone, but for one request in ten seconds, for five minutes at most', async () => {
    expect(limiter.snapshot()).toMatchObject([
      { pausedUntil: clock.now() + minutes(5), pauseCause: 'rate_limited' },
    ]);
    for (let n = 0; n < 99; n += 1) void ask(`c${n}`, { outcome: 'refused' });
    await clock.advance(minutes(5) - 1);
    expect(started.map(([, at]) => at)).toEqual(
      Array.from({ length: 29 }, (_, n) => seconds(10) * (n + 1)),
    );
    await clock.advance(1);
    expect(started.length).toBeGreaterThan(29);
  });

  it('is used again once a third realm responds, at the full rate', async () => {
    for (const name of ['c1', 'c2', 'd1']) void ask(name);
    await clock.advance(seconds(10));
    void ask('a');
    await clock.advance(seconds(1));

    expect(started.map(([, at]) => at)).toEqual([seconds(10), seconds(10), seconds(10)]);
    expect(limiter.snapshot()).toMatchObject([{ queued: 1 }]);
  });

  it.each(['abnormal', 'unsent'] as const)(
    'is not used again when the request of a third realm ends %s',
    async (outcome) => {
      for (const name of ['c1', 'c2']) void ask(name, { outcome });
      await clock.advance(seconds(20));

      expect(started.map(([, at]) => at)).toEqual([seconds(10), seconds(20)]);
    },
  );

  it('is not used again for the response to a request that was sent before', async () => {
    start();
    void ask('c1', { takes: seconds(1) });
    await settle();
    pause('a', minutes(1));
    pause('b', minutes(1));
    await clock.advance(seconds(1));
    void ask('c2');
    await clock.advance(seconds(8));

    expect(started).toEqual([['c1', 0]]);
  });

  it('tries for a token that would expire, and for the other realms all the same', async () => {
    for (const realm of ['a', 'b']) {
      for (let n = 0; n < 9; n += 1) {
        void ask(`${realm}${n}`, { ...expiring(minutes(1)), outcome: 'refused' });
      }
    }
    for (let n = 0; n < 4; n += 1) void ask(`c${n}`, { outcome: 'refused' });
    await clock.advance(seconds(45));

    const at = (letter: string) =>
      started.filter(([name]) => name.startsWith(letter)).map(([, time]) => time / 1_000);
    expect(at('c')).toEqual([10, 20, 30, 40]);
    expect([...at('a'), ...at('b')].toSorted((one, other) => one - other)).toEqual([30, 40]);
  });

  it('keeps no third realm waiting for longer than ten seconds', async () => {
    const request = fc.record({
      at: fc.integer({ min: 0, max: 120_000 }),
      realm: fc.constantFrom('a', 'b', 'c', 'c', 'd'),
      pauses: fc.integer({ min: 1, max: 600_000 }),
      left: fc.option(fc.integer({ min: -1_000, max: 600_000 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 40 }), async (requests) => {
        start();
        const waits: Ms[] = [0];
        for (const { at, realm, pauses, left } of requests) {
          clock.after(at, () => {
            const expiresAt = left === undefined ? undefined : clock.now() + left;
            const ticket = aTicket({ realm, expiresAt });
            const isRefused = realm === 'a' || realm === 'b';
            const task = async () => {
              if (!isRefused) waits.push(clock.monotonic() - at);
              if (isRefused) limiter.pause(HOST, ticket, clock.now() + pauses);
              limiter.report(HOST, ticket, isRefused ? 'refused' : 'responded');
            };
            void limiter.run(HOST, ticket, task, new AbortController().signal);
          });
        }
        await clock.advance(hours(2));
        expect(Math.max(...waits)).toBeLessThanOrEqual(seconds(10));
        expect([limiter.snapshot(), clock.timers]).toEqual([[], 0]);
      }),
      {
        numRuns: runs(1_000),
        // The pause of a realm is over before that of the host: its next request comes before that of the third realm
        examples: [
          [
            [
              { at: 1, realm: 'c', pauses: 1, left: 1 },
              { at: 0, realm: 'a', pauses: 1, left: undefined },
              { at: 0, realm: 'a', pauses: 1, left: undefined },
              { at: 0, realm: 'b', pauses: 600_000, left: undefined },
            ],
          ],
        ],
      },
    );
  }, 60_000);
});

describe('a realm that does not answer', () => {
  it('is left alone after five errors, and no other realm of its host is', async () => {
    await fail('a', 'a', 'a', 'a', 'a');
    expect(limiter.snapshot()).toMatchObject([
      { pausedUntil: clock.now() + seconds(2), pauseCause: 'unreachable' },
    ]);
    void ask('a');
    void ask('b');
    await clock.advance(seconds(9));

    expect(started).toEqual([
      ['b', 0],
      ['a', seconds(2)],
    ]);
  });

  it('is left alone with all others when a second one does not answer either', async () => {
    await fail('a', 'a', 'b', 'a', 'a');
    void ask('a');
    void ask('c');
    await clock.advance(seconds(9));

    expect(started).toEqual([
      ['a', seconds(2)],
      ['c', seconds(2)],
    ]);
  });

  it('is used again at once when its host responds after all were left alone', async () => {
    await fail('a', 'a', 'a', 'a', 'a', 'b');
    void ask('a', { outcome: 'unreachable' });
    void ask('b');
    await clock.advance(seconds(2));
    void ask('a');
    await clock.advance(seconds(9));

    expect(started.slice(0, 1)).toEqual([['b', seconds(2)]]);
    expect(started.map(([name]) => name)).toEqual(['b', 'a', 'a']);
  });

  it('is used again after an abnormal response, which shows that it can be reached', async () => {
    await fail('a', 'a', 'a', 'a', 'a');
    void ask('a', { outcome: 'abnormal' });
    await clock.advance(seconds(2));
    await fail('a', 'a', 'a', 'a');
    void ask('a');
    await settle();

    expect(started).toEqual([['a', seconds(2)]]);
  });

  it('is no nearer to an answer by a request that was not sent', async () => {
    await fail('a', 'a', 'a', 'a');
    await ask('a', { outcome: 'unsent' });
    await fail('a');
    void ask('a');
    await clock.advance(seconds(9));

    expect(started).toEqual([['a', seconds(2)]]);
  });

  it('is tried by one at a time, while others go on', async () => {
    await fail('a', 'a', 'a', 'a', 'a');
    void ask('a1', { takes: seconds(5) });
    void ask('a2');
    await clock.advance(seconds(3));
    void ask('b');
    await clock.advance(seconds(9));

    expect(started).toEqual([
      ['a1', seconds(2)],
      ['b', seconds(3)],
      ['a2', seconds(7)],
    ]);
  });

  it.each<[string, Partial<Ticket>]>([
    ['a log-out', { namespaces: new Set() }],
    ['a newcomer', { namespaces: new Set(['last']) }],
  ])('keeps no renewal waiting behind %s that waits for the host', async (_, first) => {
    start({ requestsPerSecond: 1, burst: 5 });
    await fail('a', 'a', 'a', 'a', 'a');
    await clock.advance(minutes(1));
    for (let n = 0; n < 60; n += 1) void ask(`b${n}`, { namespaces: new Set([`${n}`]) });
    void ask('a first', first);
    await clock.advance(seconds(10));
    void ask('a renewal', expiring(seconds(30)));
    await clock.advance(minutes(2));

    // Five went at once and ten since
    expect(started.findIndex(([name]) => name === 'a renewal')).toBeLessThanOrEqual(16);
    expect(started.length).toBe(62);
  });

  it('has one request in flight at most until it answers, whatever waits for it', async () => {
    const request = fc.record({
      at: fc.integer({ min: 0, max: 60_000 }),
      realm: fc.constantFrom('a', 'a', 'b'),
      namespaces: fc.subarray(['x', 'y']),
      left: fc.option(fc.integer({ min: -1_000, max: 300_000 }), { nil: undefined }),
      takes: fc.integer({ min: 1, max: 10_000 }),
      outcome: fc.constantFrom('unreachable', 'unreachable', 'unsent', 'responded'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { maxLength: 30 }), async (requests) => {
        start({ requestsPerSecond: 1, burst: 5 });
        await fail('a', 'a', 'a', 'a', 'a');
        let hasAnswered = false;
        let running = 0;
        const most: number[] = [];
        for (const { at, realm, namespaces, left, takes, outcome } of requests) {
          const waiting = { realm, namespaces: new Set(namespaces) };
          clock.after(at, () => {
            const ticket = aTicket({ ...waiting, ...(left !== undefined && expiring(left)) });
            const task = async () => {
              if (realm === 'a') running += 1;
              if (!hasAnswered) most.push(running);
              await new Promise<void>((resolve) => clock.after(takes, resolve));
              if (realm === 'a') running -= 1;
              if (realm === 'a' && outcome === 'responded') hasAnswered = true;
              limiter.report(HOST, ticket, realm === 'a' ? outcome : 'responded');
            };
            void limiter.run(HOST, ticket, task, new AbortController().signal);
          });
        }
        await clock.advance(hours(1));
        expect(Math.max(0, ...most)).toBeLessThanOrEqual(1);
        expect([limiter.snapshot().every(({ queued }) => queued === 0), clock.timers]).toEqual([
          true,
          0,
        ]);
      }),
      { numRuns: runs(1_000) },
    );
  }, 60_000);

  it('is forgotten when 1,000 others have had trouble since', async () => {
    await fail('a', 'a', 'a', 'a');
    for (let n = 0; n < 1_000; n += 1) {
      const ticket = aTicket({ realm: `realm-${n}` });
      limiter.report(HOST, ticket, 'unreachable');
      limiter.report(HOST, aTicket({ realm: 'good' }), 'responded');
    }
    await fail('a');
    void ask('a');
    await settle();

    expect(started).toEqual([['a', 0]]);
  });
});

describe('requests to several realms, under any load', () => {
  const request = fc.record({
    at: fc.integer({ min: 0, max: 60_000 }),
    realm: fc.constantFrom('a', 'b', 'c'),
    namespaces: fc.subarray(['x', 'y', 'z']),
    login: fc.boolean(),
    left: fc.option(fc.integer({ min: -1_000, max: 400_000 }), { nil: undefined }),
    takes: fc.integer({ min: 0, max: 10_000 }),
    outcome: fc.constantFrom('responded', 'responded', 'refused', 'unreachable'),
    pauses: fc.integer({ min: -100, max: 400_000 }),
    leaves: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
    joins: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: undefined }),
  });
  type Request = typeof request extends fc.Arbitrary<infer R> ? R : never;
  let running: number;
  let most: number;
  let ended: number;

  async function send(each: Request): Promise<void> {
    const { realm, namespaces, login, left, takes, outcome, pauses, leaves, joins } = each;
    const expiresAt = left === undefined ? undefined : clock.now() + left;
    const deadline = expiresAt ?? clock.now() + minutes(1);
    const ticket = aTicket({
      realm,
      login,
      namespaces: new Set(namespaces),
      deadline,
      expiresAt,
    });
    const leaving = new AbortController();
    if (leaves !== undefined) clock.after(leaves, () => leaving.abort());
    if (joins !== undefined) {
      clock.after(joins, () => {
        ticket.namespaces.add('joined');
        ticket.expiresAt = clock.now() + minutes(1);
        limiter.raisePriority(HOST, ticket);
      });
    }
    const task = async () => {
      started.push([login ? 'login' : 'other', clock.monotonic()]);
      running += 1;
      most = Math.max(most, running);
      if (takes > 0) await new Promise<void>((resolve) => clock.after(takes, resolve));
      running -= 1;
      if (outcome === 'refused') limiter.pause(HOST, ticket, clock.now() + pauses);
      limiter.report(HOST, ticket, outcome);
    };
    await limiter.run(HOST, ticket, task, leaving.signal).catch(() => undefined);
    ended += 1;
  }

  it('exceed no rate, and all go in the end', async () => {
    const limits = fc.record({
      requestsPerSecond: fc.constantFrom(0.5, 2, 5),
      passwordLoginsPerSecond: fc.constantFrom(0.5, 1),
      burst: fc.integer({ min: 1, max: 4 }),
      concurrency: fc.integer({ min: 1, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(limits, fc.array(request, { maxLength: 30 }), async (some, requests) => {
        start(some);
        [running, most, ended] = [0, 0, 0];
        for (const each of requests) clock.after(each.at, () => void send(each));
        await clock.advance(hours(3));
        expect(ended).toBe(requests.length);
        expect(most).toBeLessThanOrEqual(some.concurrency);
        const times = started.map(([, at]) => at);
        const logins = started.filter(([kind]) => kind === 'login').map(([, at]) => at);
        expectWithin(times, some.requestsPerSecond, some.burst);
        expectWithin(logins, some.passwordLoginsPerSecond, 2);
        expect(clock.timers).toBe(0);
      }),
      { numRuns: runs(1_500) },
    );
  }, 120_000);
});

function expectWithin(starts: readonly Ms[], perSecond: number, burst: number): void {
  for (const [first, from] of starts.entries()) {
    for (const [more, to] of starts.slice(first).entries()) {
      const allowed = burst + ((to - from) / 1_000) * perSecond;
      // A request may start when a thousandth of a permit is missing
      expect(more + 1).toBeLessThanOrEqual(allowed + 0.01);
    }
  }
}
