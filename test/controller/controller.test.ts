import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  Controller,
  type ControllerOptions,
  type ReconcileResult,
} from '../../src/controller/controller.ts';
import { WorkQueue } from '../../src/controller/work-queue.ts';
import { type Action, type Ms, seconds } from '../../src/lib/time.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

/** A promise that a test resolves. */
const gate = () => Promise.withResolvers<void>();

let clock: FakeClock;
let queue: WorkQueue;
let results: [ReconcileResult, Ms][];
let running: Set<string>;
let stop: AbortController;
let abort: AbortController;

beforeEach(() => {
  clock = new FakeClock();
  queue = new WorkQueue(clock);
  results = [];
  running = new Set();
  stop = new AbortController();
  abort = new AbortController();
});

const controller = (
  reconcile: ControllerOptions['reconcile'],
  more: Partial<ControllerOptions> = {},
) =>
  new Controller({
    queue,
    workers: 2,
    reconcile,
    onError: () => 'await-change',
    clock,
    onReconciled: (...result) => results.push(result),
    ...more,
  });

const run = (it: Controller) => it.run({ stop: stop.signal, abort: abort.signal });

/** A reconcile that runs until its gate opens. */
function gated(gates: Record<string, { promise: Promise<void> }>) {
  return async (key: string): Promise<Action> => {
    running.add(key);
    await gates[key]?.promise;
    running.delete(key);
    return 'await-change';
  };
}

const addAll = (...keys: string[]) => {
  for (const key of keys) queue.add(key);
};

describe('a controller', () => {
  it('runs at most as many reconciles as it has workers, and the next as soon as one ends', async () => {
    const gates = { a: gate(), b: gate(), c: gate() };
    addAll('a', 'b', 'c');
    const ended = run(controller(gated(gates)));
    await settle();
    expect([...running]).toEqual(['a', 'b']);
    gates.b.resolve();
    await settle();
    expect([...running]).toEqual(['a', 'c']);
    gates.a.resolve();
    gates.c.resolve();
    stop.abort();
    await ended;
    expect(results.map(([result]) => result)).toEqual(['success', 'success', 'success']);
  });

  it('looks again when the reconcile says so', async () => {
    const looks: number[] = [];
    queue.add('a');
    const ended = run(
      controller(async () => {
        looks.push(clock.monotonic());
        return looks.length < 3 ? { requeueAt: clock.now() + seconds(7) } : 'await-change';
      }),
    );
    await clock.advance(seconds(60));
    expect(looks).toEqual([0, seconds(7), seconds(14)]);
    expect(results.map(([result]) => result)).toEqual([
      'requeue_after',
      'requeue_after',
      'success',
    ]);
    stop.abort();
    await ended;
  });

  it('counts a reconcile as an error that could not do its work', async () => {
    queue.add('a');
    const ended = run(controller(async () => ({ requeueAt: clock.now() + 1, isError: true })));
    await settle();
    expect(results.map(([result]) => result)).toEqual(['error']);
    stop.abort();
    await ended;
  });

  it('starts no reconcile in the middle of the call that adds the key', async () => {
    const ended = run(controller(gated({})));
    await settle();
    queue.add('a');
    expect(queue.snapshot().ready).toBe(1);
    await settle();
    expect(results).toHaveLength(1);
    stop.abort();
    await ended;
  });

  it('counts the throws in a row of each key, asks what to do, and goes on with the others', async () => {
    const thrown: [unknown, string, number][] = [];
    let reconciles = 0;
    const bug = new TypeError('a bug');
    addAll('bad', 'good');
    const ended = run(
      controller(
        async (key) => {
          if (key === 'good') return 'await-change';
          reconciles += 1;
          if (reconciles === 3) return { requeueAt: clock.now() + 1 };
          throw bug;
        },
        {
          onError: (...what) => {
            thrown.push(what);
            return thrown.length < 4 ? { requeueAt: clock.now() + seconds(1) } : 'await-change';
          },
        },
      ),
    );
    await clock.advance(seconds(10));
    expect(thrown).toEqual([
      [bug, 'bad', 1],
      [bug, 'bad', 2],
      [bug, 'bad', 1],
      [bug, 'bad', 2],
    ]);
    expect(reconciles).toBe(5);
    expect(results.map(([result]) => result).filter((result) => result === 'success')).toHaveLength(
      1,
    );
    stop.abort();
    await ended;
  });

  it('treats an answer that makes no sense like a throw', async () => {
    const thrown: unknown[] = [];
    queue.add('a');
    const onError = (error: unknown): Action => {
      thrown.push(error);
      return 'await-change';
    };
    const ended = run(controller(async () => ({ requeueAt: Number.NaN }), { onError }));
    await settle();
    expect(thrown).toEqual([expect.any(RangeError)]);
    await clock.advance(1);
    expect(queue.snapshot()).toMatchObject({ ready: 0, unfinishedWork: 0 });
    stop.abort();
    await ended;
  });

  it('measures how long a reconcile takes, also while the clock is set back', async () => {
    const gates = { a: gate(), b: gate() };
    addAll('a', 'b');
    const ended = run(controller(gated(gates)));
    await clock.advance(50);
    gates.a.resolve();
    await settle();
    clock.jump(-1_000);
    gates.b.resolve();
    stop.abort();
    await ended;
    expect(results).toEqual([
      ['success', 50],
      ['success', 50],
    ]);
  });
});

describe('a response', () => {
  it('goes before keys that are merely due, once the reconcile that asked has ended', async () => {
    const order: string[] = [];
    const asked = gate();
    addAll('slow', 'b', 'c');
    const ended = run(
      controller(
        async (key) => {
          order.push(key);
          if (key === 'slow' && order.length === 1) {
            queue.addFirst('slow');
            await asked.promise;
          }
          return 'await-change';
        },
        { workers: 1 },
      ),
    );
    await settle();
    expect(order).toEqual(['slow']);
    asked.resolve();
    while (order.length < 4) await settle();
    expect(order).toEqual(['slow', 'slow', 'b', 'c']);
    stop.abort();
    await ended;
  });

  it('goes before new keys, so that requests do not run far ahead of the workers', async () => {
    const isAsked = new Set<string>();
    let ahead = 0;
    let furthest = 0;
    addAll(...Array.from({ length: 500 }, (_, i) => `ns/${i}`));
    const done = run(
      controller(async (key) => {
        if (isAsked.delete(key)) {
          ahead -= 1;
          return 'await-change';
        }
        isAsked.add(key);
        ahead += 1;
        furthest = Math.max(furthest, ahead);
        setImmediate(() => setImmediate(() => queue.addFirst(key)));
        return 'await-change';
      }),
    );
    while (results.length < 1_000) await settle();
    expect(furthest).toBeLessThan(20);
    stop.abort();
    await done;
  });
});

describe('the end of a controller', () => {
  it('takes no new keys after a stop and lets reconciles finish', async () => {
    const gates = { a: gate(), b: gate() };
    addAll('a', 'b', 'c');
    let isOver = false;
    const ended = run(controller(gated(gates))).finally(() => {
      isOver = true;
    });
    await settle();
    stop.abort();
    gates.a.resolve();
    await settle();
    expect([[...running], isOver]).toEqual([['b'], false]);
    gates.b.resolve();
    await ended;
    await clock.advance(1);
    expect(queue.snapshot()).toMatchObject({ ready: 1, unfinishedWork: 0 });
  });

  it('counts and reports what a reconcile throws after a stop', async () => {
    const gates = { a: gate() };
    const thrown: unknown[] = [];
    const onError = (error: unknown): Action => {
      thrown.push(error);
      return 'await-change';
    };
    addAll('a');
    const ended = run(controller(gated(gates), { onError }));
    await settle();
    stop.abort();
    const bug = new TypeError('a bug');
    gates.a.reject(bug);
    await ended;
    expect([thrown, results]).toEqual([[bug], [['error', 0]]]);
  });

  it('aborts running reconciles when it must, which counts as no error', async () => {
    const hanging = (_: string, signal: AbortSignal): Promise<Action> =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    const thrown: unknown[] = [];
    const onError = (error: unknown): Action => {
      thrown.push(error);
      return 'await-change';
    };
    addAll('a', 'b');
    const ended = run(controller(hanging, { onError }));
    await settle();
    abort.abort();
    await ended;
    expect([thrown, results]).toEqual([[], []]);
    expect(queue.snapshot()).toMatchObject({ ready: 0, unfinishedWork: 0 });
  });

  it.each(['stop', 'abort'])(
    'runs nothing after a %s before it began, and can be run again',
    async (how) => {
      queue.add('a');
      (how === 'stop' ? stop : abort).abort();
      const it = controller(gated({}));
      await run(it);
      expect(results).toEqual([]);
      stop = new AbortController();
      abort = new AbortController();
      const ended = run(it);
      await settle();
      expect(results).toHaveLength(1);
      stop.abort();
      await ended;
    },
  );
});

describe('a controller under any load', () => {
  const aPass = fc.record({
    key: fc.integer({ min: 0, max: 6 }).map(String),
    at: fc.integer({ min: 0, max: 50 }),
    work: fc.integer({ min: 0, max: 9 }),
    response: fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined }),
    throws: fc.boolean(),
  });

  it('never has more reconciles at work than workers, no key twice, and ends with nothing left over', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(aPass, { maxLength: 25 }),
        fc.integer({ min: 1, max: 3 }),
        async (plan, workers) => {
          clock = new FakeClock();
          queue = new WorkQueue(clock);
          stop = new AbortController();
          const processing = new Set<string>();
          const looked = new Map<string, number>();
          let atWork = 0;
          const busy = async (time: Ms) => {
            atWork += 1;
            expect(atWork).toBeLessThanOrEqual(workers);
            await new Promise<void>((resolve) => clock.after(time, resolve));
            atWork -= 1;
          };
          const asked = new Set<string>();
          const reconcile = async (key: string): Promise<Action> => {
            const { work, response, throws } = plan.find((item) => item.key === key)!;
            expect(processing.has(key)).toBe(false);
            processing.add(key);
            looked.set(key, clock.monotonic());
            await busy(work);
            if (response !== undefined && !asked.has(key)) {
              asked.add(key);
              clock.after(response, () => queue.addFirst(key));
            }
            processing.delete(key);
            if (throws) throw new Error('a bug');
            return 'await-change';
          };
          for (const { at, key } of plan) clock.after(at, () => queue.add(key));
          const ended = run(controller(reconcile, { workers }));
          await clock.advance(seconds(5));
          for (const { key, at } of plan) expect(looked.get(key)).toBeGreaterThanOrEqual(at);
          expect(queue.snapshot()).toMatchObject({ ready: 0, unfinishedWork: 0 });
          stop.abort();
          await ended;
        },
      ),
      { numRuns: runs(2_000) },
    );
  }, 60_000);
});
