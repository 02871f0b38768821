import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { hours, type Ms, minutes, seconds } from '../../src/domain/time.ts';
import type { HostLimits } from '../../src/runtime/host-queue.ts';
import { HostBudgets } from '../../src/runtime/request-budget.ts';
import { FakeClock, settle } from './fake-clock.ts';

/** In requests: a moment since 1970 as a double is good to 0.0002 ms. */
const ROUNDING = 0.001;
const LIMITS: HostLimits = { requestsPerSecond: 2, burst: 3, concurrency: 2 };
const HOST = 'auth.example';

let clock: FakeClock;
let budget: HostBudgets;
let started: [string, Ms][];
let signal: AbortSignal;

beforeEach(() => {
  clock = new FakeClock();
  budget = new HostBudgets(LIMITS, clock);
  started = [];
  signal = new AbortController().signal;
});

const pause = (time: Ms): Promise<void> =>
  new Promise((resolve) => {
    if (time === 0) resolve();
    else clock.after(time, resolve);
  });

/** Asks for a turn; the task takes so long and answers its name. */
function ask(
  name: string,
  { urgency = 0, takes = 0, host = HOST, by = signal } = {},
): Promise<string> {
  const task = async () => {
    started.push([name, clock.passed]);
    await pause(takes);
    return name;
  };
  return budget.run(host, urgency, task, by);
}

const names = () => started.map(([name]) => name);

describe('a request budget', () => {
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

  it('runs no more at once than it may, and hands on answers and errors', async () => {
    const answers = Promise.all([
      ask('a', { takes: 100 }),
      budget
        .run(
          HOST,
          0,
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
    expect(budget.snapshot()).toEqual([
      { host: HOST, queued: 1, running: 2, pausedUntil: undefined },
    ]);
    await clock.advance(200);
    expect(await answers).toEqual(['a', 'Error: refused', 'c']);
    expect(started).toEqual([
      ['a', 0],
      ['c', 100],
    ]);
  });

  it('sends the most urgent first, equals in the order of arrival', async () => {
    budget.pause(HOST, clock.now() + seconds(1));
    for (const [name, urgency] of [
      ['late', 30],
      ['soon', 10],
      ['soon too', 10],
      ['sooner', 5],
    ] as const) {
      void ask(name, { urgency });
    }
    await clock.advance(seconds(10));
    expect(names()).toEqual(['sooner', 'soon', 'soon too', 'late']);
  });

  it('sends nobody to a paused host; of two pauses the later end wins; other hosts do not care', async () => {
    const until = clock.now() + minutes(2);
    budget.pause(HOST, until);
    budget.pause(HOST, clock.now() + seconds(5));
    budget.pause(HOST, Number.NaN);
    void ask('a');
    void ask('elsewhere', { host: 'other.example' });
    await clock.advance(minutes(2) - 1);
    expect(names()).toEqual(['elsewhere']);
    expect(budget.snapshot()).toEqual([{ host: HOST, queued: 1, running: 0, pausedUntil: until }]);
    await clock.advance(1);
    expect(names()).toEqual(['elsewhere', 'a']);
    expect(budget.snapshot()).toMatchObject([{ pausedUntil: undefined }]);
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
      budget = new HostBudgets({ requestsPerSecond, burst: 1, concurrency: 2 }, clock);
      for (let n = 0; n < 100; n += 1) void ask(String(n));
      await settle();
      expect(started).toHaveLength(100);
      expect(budget.snapshot()).toEqual([]);
    },
  );

  it('forgets a host once its bucket is full and its pause over, and keeps no timer', async () => {
    for (let n = 0; n < 500; n += 1) void ask(String(n), { host: `host-${n}` });
    budget.pause('paused', clock.now() + minutes(5));
    budget.pause('past', clock.now() - 1);
    await settle();
    expect(budget.snapshot()).toHaveLength(501);
    await clock.advance(seconds(1));
    expect(budget.snapshot().map(({ host }) => host)).toEqual(['paused']);
    await clock.advance(minutes(5));
    expect([budget.snapshot(), clock.timers]).toEqual([[], 0]);
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

  it('notices within a minute that a pause is over because the clock was set forward', async () => {
    budget.pause(HOST, clock.now() + hours(2));
    void ask('a');
    clock.jump(hours(2));
    await clock.advance(minutes(1));
    expect(names()).toEqual(['a']);
  });
});

describe('a request budget under any load', () => {
  const aRequest = fc.record({
    at: fc.integer({ min: 0, max: 5_000 }),
    urgency: fc.integer({ min: 0, max: 20 }),
    takes: fc.integer({ min: 0, max: 2_000 }),
    pauses: fc.option(fc.integer({ min: -100, max: 3_000 }), { nil: undefined }),
    leaves: fc.option(fc.integer({ min: 0, max: 3_000 }), { nil: undefined }),
  });
  const someLimits = fc.record({
    requestsPerSecond: fc.constantFrom(0.5, 1, 3, 7),
    burst: fc.integer({ min: 1, max: 4 }),
    concurrency: fc.integer({ min: 1, max: 3 }),
  });

  it('never exceeds rate, concurrency or a pause, serves by urgency, and everybody in the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        someLimits,
        fc.array(aRequest, { maxLength: 25 }),
        async (limits, requests) => {
          clock = new FakeClock();
          budget = new HostBudgets(limits, clock);
          const starts: Ms[] = [];
          const waiting = new Set<number>();
          let running = 0;
          let pausedUntil = 0;
          let ended = 0;
          const begin = async (
            { urgency, takes, pauses, leaves }: (typeof requests)[number],
            id: number,
          ) => {
            const leaving = new AbortController();
            if (leaves !== undefined) clock.after(leaves, () => leaving.abort());
            leaving.signal.addEventListener('abort', () => waiting.delete(id));
            waiting.add(id);
            const task = async () => {
              waiting.delete(id);
              running += 1;
              starts.push(clock.passed);
              expect(running).toBeLessThanOrEqual(limits.concurrency);
              expect(clock.passed).toBeGreaterThanOrEqual(pausedUntil);
              const others = [...waiting];
              // Those whose turn has come in the same moment may begin a promise or two later.
              for (let hop = 0; hop < 3; hop += 1) await Promise.resolve();
              for (const other of others.filter((id) => waiting.has(id))) {
                expect(requests[other]!.urgency).toBeGreaterThanOrEqual(urgency);
              }
              await pause(takes);
              running -= 1;
              if (pauses === undefined) return;
              pausedUntil = Math.max(pausedUntil, clock.passed + pauses);
              budget.pause(HOST, clock.now() + pauses);
            };
            const run = budget.run(HOST, urgency, task, leaving.signal);
            await run.catch((error: unknown) => {
              if (error !== leaving.signal.reason) throw error;
            });
            ended += 1;
          };
          const all: Promise<void>[] = [];
          for (const [id, request] of requests.entries()) {
            clock.after(request.at, () => all.push(begin(request, id)));
          }
          await clock.advance(minutes(5));
          await Promise.all(all);
          expect(ended).toBe(requests.length);
          for (const [first, from] of starts.entries()) {
            for (const [more, to] of starts.slice(first).entries()) {
              const allowed = limits.burst + ((to - from) / 1_000) * limits.requestsPerSecond;
              expect(more + 1).toBeLessThanOrEqual(allowed + ROUNDING);
            }
          }
          expect([budget.snapshot(), clock.timers]).toEqual([[], 0]);
        },
      ),
      { numRuns: 5000 },
    );
  }, 60_000);
});
