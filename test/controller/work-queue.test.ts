import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { WorkQueue } from '../../src/controller/work-queue.ts';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

let clock: FakeClock;
let queue: WorkQueue;

beforeEach(() => {
  clock = new FakeClock();
  queue = new WorkQueue(clock);
});

const takeAll = (from = queue): string[] => {
  const keys: string[] = [];
  for (let key = from.get(); key !== undefined; key = from.get()) keys.push(key);
  return keys;
};

describe('a work queue', () => {
  it('hands keys out in the order in which they were added, each once', () => {
    for (const key of ['b', 'a', 'b', 'c']) queue.add(key);
    expect(takeAll()).toEqual(['b', 'a', 'c']);
  });

  it('lets namespaces take turns, whichever has most', () => {
    for (let n = 0; n < 1_000; n += 1) queue.add(`greedy/${n}`);
    for (const key of ['shop/a', 'shop/b', 'other/a']) queue.add(key);
    expect(takeAll().slice(0, 7)).toEqual([
      'greedy/0',
      'shop/a',
      'other/a',
      'greedy/1',
      'shop/b',
      'greedy/2',
      'greedy/3',
    ]);
  });

  it('lets namespaces take turns among keys that go first, which go before all others', () => {
    for (const key of ['a/1', 'a/2', 'b/1']) queue.add(key);
    for (const key of ['a/3', 'a/4', 'b/2']) queue.addFirst(key);
    expect(takeAll()).toEqual(['a/3', 'b/2', 'a/4', 'b/1', 'a/1', 'a/2']);
  });

  it('hands out a key of a namespace with fewer keys in work first, so that slow ones hold no worker from others', () => {
    for (let n = 0; n < 9; n += 1) queue.add(`slow/${n}`);
    expect([queue.get(), queue.get(), queue.get()]).toEqual(['slow/0', 'slow/1', 'slow/2']);
    for (let n = 0; n < 3; n += 1) queue.add(`shop/${n}`);
    for (let n = 0; n < 3; n += 1) {
      const key = queue.get() ?? '';
      expect(key).toBe(`shop/${n}`);
      queue.done(key);
    }
    expect(queue.get()).toBe('slow/3');
  });

  it('keeps no key waiting for longer than the others have a turn each', () => {
    const aKey = fc
      .tuple(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(20))
      .map((it) => it.join('/'));
    fc.assert(
      fc.property(fc.array(fc.option(aKey)), (steps) => {
        const queue = new WorkQueue(clock);
        const waiting = new Map<string, string[]>();
        /** Turns that others have had since the namespace had one, or came. */
        const passed = new Map<string, number>();
        for (const key of [...steps, ...Array<null>(steps.length).fill(null)]) {
          const [namespace = ''] = (key ?? '').split('/');
          if (key !== null) {
            queue.add(key);
            const keys = waiting.get(namespace) ?? [];
            if (keys.length === 0) passed.set(namespace, 0);
            waiting.set(namespace, keys.includes(key) ? keys : [...keys, key]);
            continue;
          }
          const taken = queue.get();
          const [turn = ''] = (taken ?? '').split('/');
          expect(taken).toBe(waiting.get(turn)?.shift());
          if (taken !== undefined) queue.done(taken);
          passed.set(turn, 0);
          for (const [other, keys] of waiting) {
            if (other === turn || keys.length === 0) continue;
            passed.set(other, (passed.get(other) ?? 0) + 1);
            expect(passed.get(other)).toBeLessThanOrEqual(3);
          }
        }
        expect(queue.get()).toBeUndefined();
      }),
      { numRuns: runs(500) },
    );
  });

  it('hands a key out once more when it was added while in work, but not before it is done', () => {
    queue.add('a');
    expect(queue.get()).toBe('a');
    queue.add('a');
    queue.add('a');
    expect(queue.get()).toBeUndefined();
    queue.done('a');
    expect(queue.get()).toBe('a');
    queue.done('a');
    expect(queue.get()).toBeUndefined();
  });

  it('takes "done" for a key that is not in work as nothing', () => {
    queue.done('a');
    expect(queue.get()).toBeUndefined();
  });

  it.each<[string, Ms[], Ms]>([
    ['the earlier of two moments when it comes first', [seconds(5), seconds(9)], seconds(5)],
    ['the earlier of two moments when it comes last', [seconds(9), seconds(5)], seconds(5)],
    ['a moment that no timer could hold', [2 ** 31 + seconds(5)], 2 ** 31 + seconds(5)],
    ['a moment just before that', [2 ** 31 - 2], 2 ** 31 - 2],
    ['a moment that is a minute and a bit away', [seconds(61)], seconds(61)],
  ])(
    'wakes a key at %s, not before and only once',
    async (_, delays, expected) => {
      for (const delay of delays) queue.addAt('a', clock.now() + delay);
      await clock.advance(expected - 1);
      expect(queue.get()).toBeUndefined();
      await clock.advance(1);
      expect(takeAll()).toEqual(['a']);
      queue.done('a');
      await clock.advance(minutes(1));
      expect(queue.get()).toBeUndefined();
      expect(clock.timers).toBe(0);
    },
    30_000,
  );

  it('adds at once what is due already, and never wakes for infinity', async () => {
    queue.addAt('past', clock.now() - 1);
    queue.addAt('never', Infinity);
    expect(takeAll()).toEqual(['past']);
    expect(clock.timers).toBe(0);
  });

  it('refuses a moment that is no number', () => {
    expect(() => queue.addAt('a', Number.NaN)).toThrow(RangeError);
  });

  it('drops the wake-up of a key that is taken, for the reconcile decides again', async () => {
    queue.addAt('a', clock.now() + seconds(5));
    queue.add('a');
    queue.get();
    queue.done('a');
    await clock.advance(seconds(10));
    expect(queue.get()).toBeUndefined();
  });

  it('keeps a wake-up that is set while the key is in work', async () => {
    queue.add('a');
    queue.get();
    queue.addAt('a', clock.now() + seconds(5));
    await clock.advance(seconds(6));
    expect(queue.get()).toBeUndefined();
    queue.done('a');
    expect(queue.get()).toBe('a');
  });

  it('notices within a minute that the clock has been set forward', async () => {
    queue.addAt('a', clock.now() + hours(5));
    clock.jump(hours(5));
    await clock.advance(minutes(1));
    expect(queue.get()).toBe('a');
  });

  it('lasts no longer when the clock is set back', async () => {
    queue.addAt('a', clock.now() + minutes(10));
    await clock.advance(minutes(4));
    clock.jump(-hours(3));
    queue.addAt('b', clock.now() + minutes(5));
    await clock.advance(minutes(5));
    expect([queue.get(), queue.get()]).toEqual(['b', undefined]);
    await clock.advance(minutes(1));
    expect(queue.get()).toBe('a');
  });

  it('needs one timer for any number of wake-ups, and none after a shut down', async () => {
    for (const delay of [5, 3, 9, 4]) queue.addAt(`in ${delay}`, clock.now() + seconds(delay));
    expect(clock.timers).toBe(1);
    queue.add('a');
    queue.shutDown();
    queue.add('b');
    queue.addAt('c', clock.now() + 1);
    await clock.advance(minutes(1));
    expect([queue.get(), clock.timers]).toEqual([undefined, 0]);
  });

  it('tells when there is something to take', async () => {
    const takenWhenTold: (string | undefined)[] = [];
    queue.onReady(() => takenWhenTold.push(queue.get()));
    queue.add('a');
    queue.add('a');
    queue.done('a');
    queue.addAt('b', clock.now() + 10);
    await clock.advance(10);
    expect(takenWhenTold).toEqual(['a', 'a', 'b']);
  });

  it('shows how long keys wait and work, and never a negative time', async () => {
    const seen: [string, Ms?][] = [];
    queue = new WorkQueue(clock, {
      add: () => seen.push(['added']),
      retry: () => seen.push(['deferred']),
      get: (waited) => seen.push(['taken', waited]),
      done: (worked) => seen.push(['done', worked]),
    });
    queue.add('a');
    queue.addAt('b', clock.now() + seconds(60));
    await clock.advance(10);
    queue.add('c');
    expect(queue.snapshot()).toEqual({ ready: 2, unfinishedWork: 0, longestWork: 0 });
    takeAll();
    await clock.advance(5);
    expect(queue.snapshot()).toEqual({ ready: 0, unfinishedWork: 10, longestWork: 5 });
    queue.done('a');
    clock.jump(-hours(1));
    queue.done('c');
    expect(seen.filter(([what]) => what === 'added')).toHaveLength(2);
    expect(seen.filter(([what]) => what === 'deferred')).toHaveLength(1);
    expect(seen.filter(([what]) => what === 'taken')).toEqual([
      ['taken', 10],
      ['taken', 0],
    ]);
    expect(seen.filter(([what]) => what === 'done')).toEqual([
      ['done', 5],
      ['done', 0],
    ]);
  });
});

type Step =
  | { readonly do: 'add' | 'done'; readonly key: string }
  | { readonly do: 'addAt'; readonly key: string; readonly delay: Ms }
  | { readonly do: 'take' }
  | { readonly do: 'wait'; readonly delay: Ms };

const aKey = fc.constantFrom('a', 'b', 'c', 'd');
const aDelay = fc.oneof(fc.integer({ min: -5, max: 200 }), fc.constant(minutes(3)));
const aStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('add', 'done'), key: aKey }),
  fc.record({ do: fc.constant('addAt'), key: aKey, delay: aDelay }),
  fc.constant({ do: 'take' } as const),
  fc.record({ do: fc.constant('wait'), delay: fc.constantFrom(1, 50, 150, minutes(2)) }),
) as fc.Arbitrary<Step>;

/** The same promises in the simplest words: what is due, what is in work, when to wake what. */
class Model {
  due: string[] = [];
  processing = new Set<string>();
  wakes = new Map<string, number>();

  add(key: string): void {
    if (!this.due.includes(key)) this.due.push(key);
  }

  wake(now: number): void {
    const woken = [...this.wakes].filter(([, at]) => at <= now);
    for (const [key] of woken.toSorted((a, b) => a[1] - b[1])) {
      this.wakes.delete(key);
      this.add(key);
    }
  }

  get takeable(): string[] {
    return this.due.filter((key) => !this.processing.has(key));
  }

  step(step: Step, now: number, taken: string | undefined): void {
    if (step.do === 'add') this.add(step.key);
    if (step.do === 'done') this.processing.delete(step.key);
    if (step.do === 'addAt' && step.delay <= 0) this.add(step.key);
    else if (step.do === 'addAt') {
      this.wakes.set(step.key, Math.min(this.wakes.get(step.key) ?? Infinity, now + step.delay));
    }
    if (taken !== undefined) {
      this.due = this.due.filter((key) => key !== taken);
      this.wakes.delete(taken);
      this.processing.add(taken);
    }
  }
}

describe('a work queue under any sequence of calls', () => {
  it('never hands a key out twice, loses no key and wakes each at its earliest moment', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(aStep, { maxLength: 60 }), async (steps) => {
        const clock = new FakeClock();
        const queue = new WorkQueue(clock);
        const model = new Model();
        for (const step of steps) {
          let taken: string | undefined;
          if (step.do === 'add') queue.add(step.key);
          if (step.do === 'done') queue.done(step.key);
          if (step.do === 'addAt') queue.addAt(step.key, clock.now() + step.delay);
          if (step.do === 'wait') await clock.advance(step.delay);
          if (step.do === 'take') {
            taken = queue.get();
            if (taken === undefined) expect(model.takeable).toEqual([]);
            else expect(model.takeable).toContain(taken);
          }
          model.step(step, clock.now(), taken);
          model.wake(clock.now());
          expect(queue.snapshot().ready).toBe(model.takeable.length);
        }
        await clock.advance(minutes(4));
        model.wake(clock.now());
        expect(queue.snapshot().ready).toBe(model.takeable.length);
      }),
      { numRuns: runs(3_000) },
    );
  }, 60_000);
});
