import { describe, expect, it } from '@jest/globals';
import { Dice } from '../../../dev/simulation/dice.ts';

describe('the dice', () => {
  const rolls = (dice: Dice): unknown[] => [
    dice.next(),
    dice.below(100),
    dice.between(3, 9),
    dice.chance(0.5),
    dice.pick(['a', 'b', 'c']),
    dice.weighted({ a: 1, b: 2 }),
    dice.shuffled([1, 2, 3, 4]),
    dice.uuid(),
  ];

  it('fall the same for the same seed, and otherwise for another', () => {
    expect(rolls(new Dice('one'))).toEqual(rolls(new Dice('one')));
    expect(rolls(new Dice('one'))).not.toEqual(rolls(new Dice('two')));
  });

  it('leave other dice alone', () => {
    const [untouched, used] = [new Dice('one'), new Dice('one')];
    for (let count = 0; count < 5; count += 1) used.next();
    expect(rolls(used.fork('a'))).toEqual(rolls(untouched.fork('a')));
    expect(rolls(untouched.fork('a'))).not.toEqual(rolls(untouched.fork('b')));
    rolls(used.fork('a'));
    const after = new Dice('one');
    for (let count = 0; count < 5; count += 1) after.next();
    expect(rolls(used)).toEqual(rolls(after));
  });

  it('stay within their bounds and reach all of it', () => {
    const dice = new Dice('bounds');
    const seen = new Set(Array.from({ length: 200 }, () => dice.between(3, 6)));
    expect(seen).toEqual(new Set([3, 4, 5, 6]));
    const sums = Array.from({ length: 10_000 }, () => dice.next());
    expect(Math.min(...sums)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...sums)).toBeLessThan(1);
    expect(sums.reduce((sum, each) => sum + each) / sums.length).toBeCloseTo(0.5, 1);
    expect(() => dice.pick([])).toThrow('nothing to pick from');
  });
});
