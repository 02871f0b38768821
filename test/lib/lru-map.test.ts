import { describe, expect, it } from '@jest/globals';
import { LruMap } from '../../src/lib/lru-map.ts';

describe('what an LRU map keeps', () => {
  it('is as many entries as there is room for', () => {
    const recent = new LruMap<number>(2);
    for (const [key, value] of Object.entries({ a: 1, b: 2, c: 3 })) recent.set(key, value);

    expect([recent.get('a'), recent.get('b'), recent.get('c')]).toEqual([undefined, 2, 3]);
  });

  it('is what was used last, not what came last', () => {
    const recent = new LruMap<number>(2);
    recent.set('a', 1);
    recent.set('b', 2);
    recent.get('a');
    recent.set('c', 3);

    expect([recent.get('a'), recent.get('b')]).toEqual([1, undefined]);
  });

  it('holds one value per key, the last', () => {
    const recent = new LruMap<number>(2);
    recent.set('a', 1);
    recent.set('b', 2);
    recent.set('a', 3);

    expect([recent.get('a'), recent.get('b')]).toEqual([3, 2]);
  });

  it('is gone once deleted', () => {
    const recent = new LruMap<number>(2);
    recent.set('a', 1);
    recent.delete('a');
    recent.delete('never there');

    expect(recent.get('a')).toBeUndefined();
  });
});
