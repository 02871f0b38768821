import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { FairLruMap } from '../../src/lib/fair-lru-map.ts';
import { runs } from '../support/runs.ts';

describe('what a fair LRU map keeps', () => {
  it('is what was used last of the owner who has the most', () => {
    const map = new FairLruMap<number>(4);
    map.set('b1', 1, 'b');
    for (const key of ['a1', 'a2', 'a3']) map.set(key, 1, 'a');
    map.get('a1');
    map.set('a4', 1, 'a');
    map.set('b2', 1, 'b');

    expect(
      ['a1', 'a2', 'a3', 'a4', 'b1', 'b2'].filter((key) => map.get(key) !== undefined),
    ).toEqual(['a1', 'a4', 'b1', 'b2']);
  });

  it('holds one value per key, the last, for the last owner', () => {
    const map = new FairLruMap<number>(2);
    map.set('a', 1, 'x');
    map.set('b', 2, 'x');
    map.set('a', 3, 'y');
    map.set('c', 4, 'x');

    expect([map.get('a'), map.get('b'), map.get('c'), map.size]).toEqual([3, undefined, 4, 2]);
  });

  it('is gone once deleted', () => {
    const map = new FairLruMap<number>(2);
    map.set('a', 1, 'x');
    map.delete('a');
    map.delete('never there');

    expect([map.get('a'), map.size]).toEqual([undefined, 0]);
  });

  it('is never more than there is room for, and an equal share of each owner for sure', () => {
    const set = fc.record({ owner: fc.constantFrom('a', 'a', 'a', 'b', 'c'), key: fc.nat(30) });
    const steps = fc.array(set, { maxLength: 100 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 3, max: 20 }), (all, capacity) => {
        const map = new FairLruMap<string>(capacity);
        /** The keys of each owner, the latest last. */
        const latest = new Map<string, string[]>();
        for (const { owner, key: n } of all) {
          const key = `${owner}${n}`;
          map.set(key, key, owner);
          const keys = (latest.get(owner) ?? []).filter((other) => other !== key);
          latest.set(owner, [...keys, key]);
          expect(map.size).toBeLessThanOrEqual(capacity);
        }
        const share = Math.floor(capacity / 3);
        const sure = [...latest.values()].flatMap((keys) => keys.slice(-share));
        expect(sure.filter((key) => map.get(key) !== key)).toEqual([]);
      }),
      { numRuns: runs(2_000) },
    );
  });
});
