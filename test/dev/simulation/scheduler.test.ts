import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Dice } from '../../../dev/simulation/dice.ts';
import { Scheduler } from '../../../dev/simulation/scheduler.ts';

describe('virtual time', () => {
  it('runs events in their order, each with what follows from it, up to the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 30 }),
        async (delays) => {
          const scheduler = new Scheduler(new Dice('order'));
          const seen: number[] = [];
          const settled: number[] = [];
          for (const delay of delays) {
            scheduler.after(delay, () => {
              expect(settled).toHaveLength(seen.length);
              expect(scheduler.now).toBe(delay);
              seen.push(delay);
              void Promise.resolve()
                .then(() => undefined)
                .then(() => settled.push(delay));
            });
          }
          await scheduler.runUntil(40);
          const wanted = delays.filter((delay) => delay <= 40).sort((a, b) => a - b);
          expect(seen).toEqual(wanted);
          expect(scheduler.now).toBe(40);
          expect(scheduler.count).toBe(wanted.length);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('decides by the dice between events of the same moment', async () => {
    const orderOf = async (seed: string): Promise<string> => {
      const scheduler = new Scheduler(new Dice(seed));
      const seen: string[] = [];
      for (const name of 'abcdefgh') scheduler.after(5, () => seen.push(name));
      await scheduler.runUntil(5);
      return seen.join('');
    };
    expect(await orderOf('one')).toBe(await orderOf('one'));
    expect(await orderOf('one')).not.toBe(await orderOf('two'));
  });

  it('takes a fraction of a millisecond for a whole one, and a past moment for now', async () => {
    const scheduler = new Scheduler(new Dice('one'));
    const seen: number[] = [];
    scheduler.after(0.2, () => {
      seen.push(scheduler.now);
      scheduler.after(-5, () => seen.push(scheduler.now));
    });
    await scheduler.runUntil(1);
    expect(seen).toEqual([1, 1]);
  });

  it('does not run what was cancelled, not even at the same moment', async () => {
    const scheduler = new Scheduler(new Dice('one'));
    const seen: string[] = [];
    const cancelLate = scheduler.after(9, () => seen.push('late'));
    const cancels = ['a', 'b'].map((name) =>
      scheduler.after(5, () => {
        seen.push(name);
        for (const cancel of cancels) cancel();
        cancelLate();
      }),
    );
    await scheduler.runUntil(10);
    expect(seen).toHaveLength(1);
    expect(scheduler.count).toBe(1);
  });

  it('lets code go on that was started between two runs, before time goes on', async () => {
    const scheduler = new Scheduler(new Dice('one'));
    const seen: number[] = [];
    await scheduler.runUntil(1);
    void Promise.resolve().then(() => setImmediate(() => seen.push(scheduler.now)));
    scheduler.after(1, () => seen.push(scheduler.now));
    await scheduler.runUntil(5);
    expect(seen).toEqual([1, 2]);
  });

  it('lets code that waits for its next turns go on before the next event', async () => {
    const scheduler = new Scheduler(new Dice('one'));
    const seen: number[] = [];
    const note = () => seen.push(scheduler.now);
    scheduler.after(1, () => setImmediate(() => setImmediate(() => setImmediate(note))));
    scheduler.after(2, note);
    await scheduler.runUntil(3);
    expect(seen).toEqual([1, 2]);
  });
});
