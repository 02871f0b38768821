import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  Controller,
  type ControllerOptions,
  type ReconcileAttempt,
  type ReconcileResult,
} from '../../src/controller/controller.ts';
import { Semaphore } from '../../src/controller/semaphore.ts';
import { WorkQueue } from '../../src/controller/work-queue.ts';
import { type Action, type Ms, seconds } from '../../src/lib/time.ts';
import { FakeClock, settle } from './fake-clock.ts';

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

/** A pass that runs until its gate opens. */
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
  it('runs at most as many passes as it has workers, and the next as soon as one ends', async () => {
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

  it('looks again when the pass says so', async () => {
    const looks: number[] = [];
    queue.add('a');
    const ended = run(
      controller(async () => {
        looks.push(clock.passed);
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

  it('starts no pass in the middle of the call that adds the key', async () => {
    const ended = run(controller(gated({})));
    await settle();
    queue.add('a');
    expect(queue.snapshot()).toMatchObject({ ready: 1, processing: 0 });
    await settle();
    expect(results).toHaveLength(1);
    stop.abort();
    await ended;
  });

  it('counts the throws in a row of each key, asks what to do, and goes on with the others', async () => {
    const thrown: [unknown, string, number][] = [];
    const attempts: number[] = [];
    const bug = new TypeError('a bug');
    addAll('bad', 'good');
    const ended = run(
      controller(
        async (key, { attempt }) => {
          if (key === 'good') return 'await-change';
          attempts.push(attempt);
          if (attempts.length === 3) return { requeueAt: clock.now() + 1 };
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
    expect(attempts).toEqual([0, 1, 2, 0, 1]);
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
    expect(queue.snapshot().processing).toBe(0);
    stop.abort();
    await ended;
  });

  it('measures how long a pass takes, also while the clock is set back', async () => {
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
      ['success', 0],
    ]);
  });
});

describe('a parked pass', () => {
  it('gives its worker to others, keeps its key in work, and comes back before new keys', async () => {
    const order: string[] = [];
    const host = gate();
    const gates: Record<string, ReturnType<typeof gate>> = { b: gate(), c: gate() };
    const reconcile = async (key: string, { parked }: ReconcileAttempt): Promise<Action> => {
      order.push(`${key} starts`);
      if (key === 'slow') expect(await parked(async () => host.promise.then(() => 42))).toBe(42);
      else await gates[key]?.promise;
      order.push(`${key} ends`);
      return 'await-change';
    };
    const it = controller(reconcile, { workers: 1 });
    addAll('slow', 'b', 'c');
    const ended = run(it);
    await settle();
    await settle();
    expect(order).toEqual(['slow starts', 'b starts']);
    expect(it.active).toBe(2);
    queue.add('slow');
    host.resolve();
    await settle();
    await settle();
    expect(order).toEqual(['slow starts', 'b starts']);
    gates['b']?.resolve();
    await settle();
    expect(order.slice(2)).toEqual(['b ends', 'slow ends', 'c starts']);
    gates['c']?.resolve();
    await settle();
    expect(order.slice(5)).toEqual(['c ends', 'slow starts', 'slow ends']);
    stop.abort();
    await ended;
  });

  it('gives nothing back twice by a wait within a wait, and passes rejections on', async () => {
    const semaphore = new Semaphore(1, () => undefined);
    const permit = semaphore.acquire();
    const waits = permit.parked(() => permit.parked(() => Promise.reject(new Error('no'))));
    const other = semaphore.acquire();
    expect(semaphore.hasFree).toBe(false);
    other.release();
    await expect(waits).rejects.toThrow('no');
    expect(semaphore.hasFree).toBe(false);
    permit.release();
    expect(semaphore.hasFree).toBe(true);
  });

  it('takes no seat with it when it ends without waiting for its wait', async () => {
    const semaphore = new Semaphore(1, () => undefined);
    const host = gate();
    const permit = semaphore.acquire();
    const waits = permit.parked(() => host.promise);
    permit.release();
    host.resolve();
    await waits;
    expect(semaphore.hasFree).toBe(true);
    semaphore.acquire();
    expect(semaphore.hasFree).toBe(false);
  });
});

describe('very many parked passes', () => {
  it('come back before new ones start, so that no reconcile runs far ahead of the workers', async () => {
    const answered = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    let ahead = 0;
    let furthest = 0;
    addAll(...Array.from({ length: 500 }, (_, i) => `ns/${i}`));
    const done = run(
      controller(async (_, { parked }) => {
        ahead += 1;
        furthest = Math.max(furthest, ahead);
        await parked(answered);
        await answered();
        ahead -= 1;
        return 'await-change';
      }),
    );
    while (results.length < 500) await settle();
    expect(furthest).toBeLessThan(20);
    stop.abort();
    await done;
  });

  it('are bounded, and the next key is taken when one ends', async () => {
    const host = gate();
    const first = gate();
    const reconcile: ControllerOptions['reconcile'] = async (key, { parked }) => {
      await parked(() => (key === '0' ? first : host).promise);
      return 'await-change';
    };
    const it = controller(reconcile, { workers: 50_002 });
    for (let key = 0; key < 50_002; key += 1) queue.add(String(key));
    const ended = run(it);
    await settle();
    expect([it.active, queue.snapshot().ready]).toEqual([50_000, 2]);
    first.resolve();
    await settle();
    expect([it.active, queue.snapshot().ready]).toEqual([50_000, 1]);
    host.resolve();
    await settle();
    expect([it.active, queue.snapshot().ready]).toEqual([0, 0]);
    stop.abort();
    await ended;
  });
});

describe('the end of a controller', () => {
  it('takes no new keys after a stop and lets passes finish', async () => {
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
    expect(queue.snapshot()).toMatchObject({ ready: 1, processing: 0 });
  });

  it('aborts running passes when it must, and leaves their keys to the next leader', async () => {
    const hanging = (_: string, { signal }: ReconcileAttempt): Promise<Action> =>
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
    expect([queue.get(), queue.get()]).toEqual(['a', 'b']);
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
    park: fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined }),
    throws: fc.boolean(),
  });

  it('never has more passes at work than workers, no key twice, and ends with nothing left over', async () => {
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
          const reconcile = async (key: string, { parked }: ReconcileAttempt): Promise<Action> => {
            const { work, park, throws } = plan.find((item) => item.key === key)!;
            expect(processing.has(key)).toBe(false);
            processing.add(key);
            looked.set(key, clock.passed);
            await busy(work);
            if (park !== undefined) {
              await parked(() => new Promise<void>((resolve) => clock.after(park, resolve)));
              await busy(work);
            }
            processing.delete(key);
            if (throws) throw new Error('a bug');
            return 'await-change';
          };
          for (const { at, key } of plan) clock.after(at, () => queue.add(key));
          const ended = run(controller(reconcile, { workers }));
          await clock.advance(seconds(5));
          for (const { key, at } of plan) expect(looked.get(key)).toBeGreaterThanOrEqual(at);
          expect(queue.snapshot()).toMatchObject({ ready: 0, processing: 0 });
          stop.abort();
          await ended;
        },
      ),
      { numRuns: 2000 },
    );
  }, 60_000);
});
