import { beforeEach, describe, expect, it } from '@jest/globals';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import type { Ticket } from '../../src/tokens/deadline-queue.ts';
import type { HostLimits } from '../../src/tokens/host-limiter.ts';
import { HostLimiters } from '../../src/tokens/host-limiters.ts';
import { aTicket } from '../support/builders.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';

const LIMITS: HostLimits = {
  requestsPerSecond: 2,
  burst: 3,
  concurrency: 2,
  passwordLoginsPerSecond: 1,
};
const HOST = 'auth.example';

let clock: FakeClock;
let limiter: HostLimiters;
let started: [string, Ms][];
let signal: AbortSignal;

beforeEach(() => {
  clock = new FakeClock();
  limiter = new HostLimiters(LIMITS, clock, () => 0);
  started = [];
  signal = new AbortController().signal;
});

const pause = (time: Ms): Promise<void> =>
  new Promise((resolve) => {
    if (time === 0) resolve();
    else clock.after(time, resolve);
  });

/** Asks for a turn; the task takes so long and returns its name. */
function ask(
  name: string,
  {
    takes = 0,
    host = HOST,
    by = signal,
    ...ticket
  }: Partial<Ticket> & { takes?: Ms; host?: string; by?: AbortSignal } = {},
): Promise<string> {
  const task = async () => {
    started.push([name, clock.monotonic()]);
    await pause(takes);
    return name;
  };
  return limiter.run(host, aTicket(ticket), task, by);
}

const names = () => started.map(([name]) => name);

describe('a host limiter', () => {
  it('lets a burst go at once and then one after the other at the rate, in the order of arrival', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) void ask(name);
    await clock.advance(seconds(5));
    expect(started).toEqual([
      ['a', 0],
      ['b', 0],
      ['c', 0],
      ['d', 500],
      ['e', 1_000],
    ]);
  });

  it('runs no more at once than it may, and hands on results and errors', async () => {
    const responses = Promise.all([
      ask('a', { takes: 100 }),
      limiter
        .run(
          HOST,
          aTicket(),
          async () => {
            await pause(200);
            throw new Error('refused');
          },
          signal,
        )
        .catch(String),
      ask('c'),
    ]);
    await settle();
    expect(limiter.snapshot()).toEqual([
      { host: HOST, queued: 1, running: 2, pausedUntil: undefined },
    ]);
    await clock.advance(200);
    expect(await responses).toEqual(['a', 'Error: refused', 'c']);
    expect(started).toEqual([
      ['a', 0],
      ['c', 100],
    ]);
  });

  it('sends the most urgent first, equals in the order of arrival', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + seconds(1));
    for (const [name, deadline] of [
      ['late', 30],
      ['soon', 10],
      ['soon too', 10],
      ['sooner', 5],
    ] as const) {
      void ask(name, { deadline });
    }
    await clock.advance(seconds(10));
    expect(names()).toEqual(['sooner', 'soon', 'soon too', 'late']);
  });

  it('lets no request through to a paused host; of two pauses the later end wins; other hosts do not care', async () => {
    const until = clock.now() + minutes(2);
    limiter.pause(HOST, aTicket(), until);
    limiter.pause(HOST, aTicket(), clock.now() + seconds(5));
    limiter.pause(HOST, aTicket(), Number.NaN);
    void ask('a');
    void ask('elsewhere', { host: 'other.example' });
    await clock.advance(minutes(2) - 1);
    expect(names()).toEqual(['elsewhere']);
    expect(limiter.snapshot()).toMatchObject([
      { host: HOST, queued: 1, running: 0, pausedUntil: until, pauseCause: 'rate_limited' },
    ]);
    await clock.advance(1);
    expect(names()).toEqual(['elsewhere', 'a']);
    expect(limiter.snapshot()).toMatchObject([{ pausedUntil: undefined }]);
  });

  it('lets one go earlier that has become more urgent while it waited', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + seconds(1));
    const ticket = aTicket({ deadline: 30 });
    void limiter.run(
      HOST,
      ticket,
      async () => started.push(['hurried', clock.monotonic()]),
      signal,
    );
    void ask('soon', { deadline: 10 });
    ticket.deadline = 5;
    limiter.raisePriority(HOST, ticket);
    limiter.raisePriority('unknown.example', ticket);
    await clock.advance(seconds(10));
    limiter.raisePriority(HOST, ticket);
    expect(names()).toEqual(['hurried', 'soon']);
  });

  it('lets a task that waits leave when its signal fires, and others go on', async () => {
    const leaving = new AbortController();
    const busy = ask('a', { takes: seconds(9) });
    void ask('b', { takes: seconds(9) });
    const waiting = ask('never', { by: leaving.signal });
    void ask('c');
    leaving.abort(new Error('not wanted any more'));
    await expect(waiting).rejects.toThrow('not wanted any more');
    await expect(ask('never', { by: leaving.signal })).rejects.toThrow('not wanted any more');
    await clock.advance(seconds(20));
    expect(await busy).toBe('a');
    expect(names()).toEqual(['a', 'b', 'c']);
  });

  it('does not cut a task that runs when its signal fires', async () => {
    const leaving = new AbortController();
    const running = ask('a', { takes: 10, by: leaving.signal });
    await settle();
    leaving.abort();
    await clock.advance(10);
    expect(await running).toBe('a');
  });

  it.each([0, Infinity])(
    'knows no limit on the rate for %d requests a second',
    async (requestsPerSecond) => {
      const limits = { requestsPerSecond, passwordLoginsPerSecond: requestsPerSecond };
      limiter = new HostLimiters({ ...limits, burst: 1, concurrency: 2 }, clock, () => 0);
      for (let n = 0; n < 100; n += 1) void ask(String(n), { login: n % 2 === 0 });
      await settle();
      expect(started).toHaveLength(100);
      expect(limiter.snapshot()).toEqual([]);
    },
  );

  it('forgets a host once it has all its permits and its full rate back, and keeps no timer', async () => {
    for (let n = 0; n < 500; n += 1) void ask(String(n), { host: `host-${n}` });
    limiter.pause('paused', aTicket(), clock.now() + minutes(5));
    limiter.pause('past', aTicket(), clock.now() - 1);
    await settle();
    expect(limiter.snapshot()).toHaveLength(501);
    await clock.advance(seconds(1));
    expect(limiter.snapshot().map(({ host }) => host)).toEqual(['paused']);
    await clock.advance(minutes(9));
    expect(limiter.snapshot().map(({ host }) => host)).toEqual(['paused']);
    await clock.advance(minutes(2));
    expect([limiter.snapshot(), clock.timers]).toEqual([[], 0]);
  });

  it('does not hand out a new burst to a host because it was idle for a moment', async () => {
    for (const name of ['a', 'b', 'c']) void ask(name);
    await clock.advance(400);
    void ask('d');
    await clock.advance(99);
    expect(names()).not.toContain('d');
    await clock.advance(1);
    expect(names()).toContain('d');
  });

  it.each([-hours(5), hours(5)])('keeps its rate when the clock jumps by %d ms', async (by) => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) void ask(name);
    await settle();
    clock.jump(by);
    await clock.advance(seconds(3));
    expect(started.length).toBe(5);
  });
});

describe('password logins', () => {
  it('go at their own rate, two at once after a rest, and hold no other request up', async () => {
    limiter = new HostLimiters({ ...LIMITS, burst: 6, concurrency: 9 }, clock, () => 0);
    for (const name of ['l1', 'l2', 'l3', 'l4']) void ask(name, { login: true });
    for (const name of ['a', 'b', 'c']) void ask(name, { deadline: 9 });
    await clock.advance(seconds(5));
    expect(started).toEqual([
      ['l1', 0],
      ['l2', 0],
      ['a', 0],
      ['b', 0],
      ['c', 0],
      ['l3', 1_000],
      ['l4', 2_000],
    ]);
  });

  it('need a permit of all requests as well', async () => {
    for (const name of ['a', 'b', 'c']) void ask(name);
    void ask('login', { login: true });
    await clock.advance(seconds(5));
    expect(started[3]).toEqual(['login', 500]);
  });

  it('and others go by urgency, equals in the order of arrival', async () => {
    const limits = { ...LIMITS, passwordLoginsPerSecond: 9 };
    limiter = new HostLimiters(limits, clock, () => 0);
    limiter.pause(HOST, aTicket(), clock.now() + seconds(1));
    void ask('late login', { deadline: 9, login: true });
    void ask('b', { deadline: 5 });
    void ask('equal login', { deadline: 5, login: true });
    void ask('c', { deadline: 5 });
    void ask('a', { deadline: 1 });
    void ask('last', { deadline: 10 });
    await clock.advance(minutes(1));
    expect(names()).toEqual(['a', 'b', 'equal login', 'c', 'late login', 'last']);
  });

  it('that leave the queue are not waited for', async () => {
    const leaving = new AbortController();
    void ask('l1', { login: true });
    void ask('l2', { login: true });
    const waiting = ask('never', { login: true, by: leaving.signal });
    void ask('l3', { login: true });
    await clock.advance(500);
    leaving.abort(new Error('not wanted any more'));
    await expect(waiting).rejects.toThrow('not wanted any more');
    await clock.advance(seconds(1));
    expect(started).toEqual([
      ['l1', 0],
      ['l2', 0],
      ['l3', 1_000],
    ]);
  });
});

describe('a host after 429 or 503', () => {
  /** Keeps the host busy and counts the starts of each of the next minutes. */
  async function startsPerMinute(count: number): Promise<number[]> {
    for (let n = 0; n < 2_000; n += 1) void ask(String(n));
    const starts: number[] = [];
    for (let n = 0; n < count; n += 1) {
      const before = started.length;
      await clock.advance(minutes(1));
      starts.push(started.length - before);
    }
    return starts;
  }

  beforeEach(() => {
    limiter = new HostLimiters({ ...LIMITS, concurrency: 99 }, clock, () => 0);
  });

  it('gets half the rate and no burst after the pause, and a tenth more each minute', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + seconds(30));
    await clock.advance(seconds(30) - 1);
    const expected = [60, 72, 84, 96, 108, 120, 120];
    for (const [minute, starts] of (await startsPerMinute(7)).entries()) {
      // The host has a burst again at the moment at which the realm gets its full rate back
      expect(Math.abs(starts - expected[minute]!)).toBeLessThanOrEqual(LIMITS.burst - 1);
    }
    expect(started.slice(0, 2).map(([, at]) => at)).toEqual([seconds(30), seconds(31)]);
  });

  it('gets a burst again once it has its full rate back', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + 1);
    await clock.advance(minutes(6));
    for (const name of ['a', 'b', 'c', 'd']) void ask(name);
    await settle();
    expect(names()).toEqual(['a', 'b', 'c']);
  });

  it('is slowed down once by several who were refused in the same pause, again by the next', async () => {
    for (const length of [seconds(5), seconds(9), seconds(1)]) {
      limiter.pause(HOST, aTicket(), clock.now() + length);
    }
    await clock.advance(seconds(9));
    limiter.pause(HOST, aTicket(), clock.now() + seconds(60));
    await clock.advance(seconds(60) - 1);
    expect(await startsPerMinute(2)).toEqual([30, 42]);
  });

  it('sets no more than two timers while no request waits', async () => {
    let timers = 0;
    const now = () => clock.now();
    const monotonic = () => clock.monotonic();
    const after: FakeClock['after'] = (delay, callback) => {
      timers += 1;
      return clock.after(delay, callback);
    };
    limiter = new HostLimiters(LIMITS, { now, monotonic, after }, () => 0);
    limiter.pause(HOST, aTicket(), clock.now() + minutes(3));
    await clock.advance(hours(1));
    expect(timers).toBeLessThanOrEqual(2);
    expect(limiter.snapshot()).toEqual([]);
  });

  it('is never given up', async () => {
    for (let n = 0; n < 50; n += 1) {
      limiter.pause(HOST, aTicket(), clock.now() + 1);
      await clock.advance(1);
    }
    expect(await startsPerMinute(1)).toEqual([7]);
  });

  it('gets fewer logins as well', async () => {
    limiter = new HostLimiters({ ...LIMITS, requestsPerSecond: 0 }, clock, () => 0);
    limiter.pause(HOST, aTicket(), clock.now() + seconds(1));
    for (const name of ['l1', 'l2', 'l3']) void ask(name, { login: true });
    await clock.advance(seconds(9));
    expect(started).toEqual([
      ['l1', 1_000],
      ['l2', 3_000],
      ['l3', 5_000],
    ]);
  });

  it('is asked again after five minutes, however long it asks for', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + hours(1));
    void ask('a');
    await clock.advance(minutes(5) - 1);
    expect(names()).toEqual([]);
    await clock.advance(1);
    expect(names()).toEqual(['a']);
  });

  it('is tried once, half a minute before a token would expire in the pause', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + minutes(5));
    const at = (wait: Ms) => clock.now() + wait;
    void ask('without a token', { deadline: at(minutes(1)) });
    void ask('later', { deadline: at(minutes(6)), expiresAt: at(minutes(6)) });
    void ask('expired', { deadline: at(-1), expiresAt: at(-1) });
    void ask('sooner', { deadline: at(minutes(2)), expiresAt: at(minutes(2)), login: true });
    await clock.advance(minutes(5) - 1);
    expect(started).toEqual([['sooner', minutes(1.5)]]);
    await clock.advance(minutes(1));
    expect(names().slice(1)).toEqual(['expired', 'later', 'without a token']);
  });

  it('is tried by one in ten seconds, however many tokens expire', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + minutes(5));
    const expiresAt = clock.now() + minutes(1);
    for (let n = 0; n < 9; n += 1) void ask(String(n), { deadline: expiresAt, expiresAt });
    await clock.advance(minutes(5) - 1);
    expect(started).toEqual([
      ['0', seconds(30)],
      ['1', seconds(40)],
      ['2', seconds(50)],
    ]);
  });

  it('is tried for a token although another expires before its turn', async () => {
    limiter.pause(HOST, aTicket(), clock.now() + minutes(5));
    const at = (wait: Ms) => ({ deadline: clock.now() + wait, expiresAt: clock.now() + wait });
    void ask('first', at(seconds(30)));
    void ask('too late', at(seconds(5)));
    void ask('in time', at(seconds(35)));
    await clock.advance(minutes(5) - 1);
    expect(started).toEqual([
      ['first', 0],
      ['in time', seconds(10)],
    ]);
  });

  it('is not tried for a token while it does not answer at all', async () => {
    for (let n = 0; n < 5; n += 1) {
      await limiter.run(
        HOST,
        aTicket(),
        async () => limiter.report(HOST, aTicket(), 'unreachable'),
        signal,
      );
      await clock.advance(seconds(1));
    }
    limiter.pause(HOST, aTicket(), clock.now() + minutes(5));
    const expiresAt = clock.now() + seconds(30);
    const now = clock.monotonic();
    void ask('a', { deadline: expiresAt, expiresAt });
    await clock.advance(minutes(1));
    expect(started).toEqual([['a', now + seconds(1)]]);
  });

  it.each([-hours(5), hours(5)])(
    'is left alone as long when the clock jumps by %d ms',
    async (by) => {
      limiter.pause(HOST, aTicket(), clock.now() + seconds(30));
      clock.jump(by);
      void ask('a');
      await clock.advance(minutes(1));
      expect(started).toEqual([['a', seconds(30)]]);
    },
  );

  it.each([-hours(5), hours(5)])(
    'is tried as long before a token expires when the clock jumps by %d ms',
    async (by) => {
      limiter.pause(HOST, aTicket(), clock.now() + minutes(5));
      const expiresAt = clock.now() + minutes(2);
      void ask('a', { deadline: expiresAt, expiresAt });
      clock.jump(by);
      await clock.advance(minutes(4));
      expect(started).toEqual([['a', minutes(1.5)]]);
    },
  );
});

describe('a host limiter that is closed', () => {
  it('has no timer, whatever is still on its way', async () => {
    limiter.pause('paused.example', aTicket(), clock.now() + hours(1));
    void ask('a', { takes: 1_000 });
    await settle();
    expect(clock.timers).toBe(2);
    limiter.close();
    expect(clock.timers).toBe(1); // that of the task
    await clock.advance(1_000);
    limiter.pause(HOST, aTicket(), clock.now() + hours(1));
    limiter.pause('new.example', aTicket(), clock.now() + hours(1));
    limiter.report(HOST, aTicket(), 'unreachable');
    expect(clock.timers).toBe(0);
  });
});

describe('a host that does not answer', () => {
  let jitter: number;

  beforeEach(() => {
    jitter = 0;
    limiter = new HostLimiters({ ...LIMITS, requestsPerSecond: 0 }, clock, () => jitter);
  });

  const fail = (name: string, host = HOST) => tell(name, 'unreachable', { host });

  /** A request that reports how it went. */
  function tell(
    name: string,
    outcome: 'responded' | 'unreachable' | 'nothing',
    { host = HOST, takes = 0, by = signal } = {},
  ): Promise<void> {
    const task = async () => {
      started.push([name, clock.monotonic()]);
      await pause(takes);
      if (outcome !== 'nothing') limiter.report(host, aTicket(), outcome);
    };
    return limiter.run(host, aTicket(), task, by);
  }

  async function down(): Promise<void> {
    for (let n = 0; n < 5; n += 1) await fail('down');
    started = [];
  }

  it('is left alone after five errors in a row, longer each time, ten seconds at most', async () => {
    await down();
    expect(limiter.snapshot()).toMatchObject([{ pausedUntil: clock.now() + seconds(2) }]);
    for (let n = 0; n < 8; n += 1) void fail('probe');
    await clock.advance(minutes(10));
    expect(started.map(([, at]) => at / 1_000)).toEqual([2, 6, 14, 24, 34, 44, 54, 64]);
  });

  it('is left alone for up to a fifth less by chance', async () => {
    jitter = 0.5;
    await down();
    void fail('probe');
    void fail('probe');
    await clock.advance(minutes(1));
    expect(started.map(([, at]) => at / 1_000)).toEqual([1.8, 5.4]);
  });

  it('is not left alone while responses come in between', async () => {
    for (let n = 0; n < 20; n += 1) await tell('some', n % 5 === 4 ? 'responded' : 'unreachable');
    expect(started.map(([, at]) => at)).toEqual(Array.from({ length: 20 }, () => 0));
  });

  it('is tried by one alone, and by all others once that one has a response', async () => {
    await down();
    void tell('probe', 'responded', { takes: 700 });
    for (const name of ['a', 'b', 'c']) void tell(name, 'responded', { takes: 100 });
    await clock.advance(seconds(9));
    expect(started).toEqual([
      ['probe', 2_000],
      ['a', 2_700],
      ['b', 2_700],
      ['c', 2_800],
    ]);
    expect([limiter.snapshot(), clock.timers]).toEqual([[], 0]);
  });

  it('is left alone for the shortest time again after a response', async () => {
    await down();
    await Promise.all([fail('probe'), tell('probe', 'responded'), clock.advance(seconds(6))]);
    await down();
    void fail('probe');
    await clock.advance(seconds(9));
    expect(started).toEqual([['probe', 8_000]]);
  });

  it('is tried by the next one when the one who tries learns nothing', async () => {
    await down();
    void tell('aborted', 'nothing', { takes: 500 });
    void tell('next', 'responded');
    await clock.advance(seconds(9));
    expect(started).toEqual([
      ['aborted', 2_000],
      ['next', 2_500],
    ]);
  });

  it('is not judged by requests sent before: their errors lengthen no wait', async () => {
    limiter = new HostLimiters({ ...LIMITS, requestsPerSecond: 0, concurrency: 8 }, clock, () => 0);
    for (let n = 0; n < 8; n += 1) void fail('down');
    void fail('probe');
    await clock.advance(seconds(9));
    expect(started.at(-1)).toEqual(['probe', 2_000]);
  });

  it('is tried only when all requests sent before have ended, and a response to one of them will do', async () => {
    limiter = new HostLimiters({ ...LIMITS, requestsPerSecond: 0, concurrency: 8 }, clock, () => 0);
    for (let n = 0; n < 7; n += 1) void fail('down');
    void tell('slow', 'responded', { takes: 3_000 });
    for (const name of ['a', 'b']) void fail(name);
    await clock.advance(2_999);
    expect(names()).not.toContain('a');
    await clock.advance(1);
    expect(started.slice(-2)).toEqual([
      ['a', 3_000],
      ['b', 3_000],
    ]);
  });

  it('costs other hosts nothing', async () => {
    await down();
    for (let n = 0; n < 9; n += 1) void fail('probe');
    for (let n = 0; n < 50; n += 1) {
      await tell('elsewhere', 'responded', { host: 'other.example' });
    }
    const elsewhere = started.filter(([name]) => name === 'elsewhere');
    expect(elsewhere).toEqual(Array.from({ length: 50 }, () => ['elsewhere', 0]));
  });

  it('is not forgotten before it responds, however seldom it is asked', async () => {
    for (let n = 0; n < 4; n += 1) {
      await fail('seldom');
      await clock.advance(hours(1));
    }
    expect([limiter.snapshot().length, clock.timers]).toEqual([1, 0]);
    await fail('fifth');
    void fail('probe');
    await clock.advance(seconds(9));
    expect(started.at(-1)).toEqual(['probe', hours(4) + seconds(2)]);
    limiter.report('never seen', aTicket(), 'unreachable');
    expect(limiter.snapshot()).toHaveLength(1);
  });

  it('is not left alone for hours because the clock was set back', async () => {
    await down();
    clock.jump(-hours(5));
    void fail('probe');
    await clock.advance(seconds(2));
    expect(started).toEqual([['probe', 2_000]]);
  });
});
