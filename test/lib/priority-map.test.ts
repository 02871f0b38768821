import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { PriorityMap } from '../../src/lib/priority-map.ts';

function drain<K>(map: PriorityMap<K>): K[] {
  const keys: K[] = [];
  for (let next = map.first(); next !== undefined; next = map.first()) {
    keys.push(next.key);
    map.delete(next.key);
  }
  return keys;
}

describe('a priority map', () => {
  it('gives keys back by priority, equals in the order in which they came to it, as a sorted list would', () => {
    const change = fc.record({
      key: fc.integer({ min: 0, max: 40 }),
      priority: fc.option(fc.integer({ min: 0, max: 8 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
        const map = new PriorityMap<number>();
        let model: { key: number; priority: number }[] = [];
        for (const { key, priority } of changes) {
          const known = model.find((entry) => entry.key === key);
          if (priority === undefined) expect(map.delete(key)).toBe(known !== undefined);
          else map.set(key, priority);
          if (known === undefined || known.priority !== priority) {
            model = model.filter((entry) => entry !== known);
            if (priority !== undefined) model.push({ key, priority });
          }
          expect(map.get(key)).toBe(priority);
        }
        expect(map.size).toBe(model.length);
        expect(drain(map)).toEqual(
          model.toSorted((a, b) => a.priority - b.priority).map(({ key }) => key),
        );
      }),
    );
  });

  it('copes with 100,000 keys that are moved and removed', () => {
    const map = new PriorityMap<number>();
    const count = 100_000;
    for (let key = 0; key < count; key += 1) map.set(key, (key * 7_919) % count);
    for (let key = 0; key < count; key += 2) map.set(key, count + key);
    for (let key = 1; key < count; key += 4) map.delete(key);
    expect(map.size).toBe((count * 3) / 4);
    const keys = drain(map);
    expect(keys).toHaveLength((count * 3) / 4);
    expect(keys.slice(-2)).toEqual([count - 4, count - 2]);
    expect(map.first()).toBeUndefined();
  });

  it('has no place for NaN, and nothing changes by trying', () => {
    const map = new PriorityMap<string>();
    map.set('a', 1);
    expect(() => map.set('a', Number.NaN)).toThrow(RangeError);
    expect(map.get('a')).toBe(1);
    map.clear();
    expect([map.size, map.has('a')]).toEqual([0, false]);
  });
});
