import { describe, expect, it } from '@jest/globals';
import { SharedParts } from '../../src/kubernetes/shared-parts.ts';

const anObject = (message = 'Secret "loyalty-token" holds a valid token') => ({
  name: 'loyalty',
  target: { creationPolicy: 'Owner', deletionPolicy: 'Delete' },
  status: {
    conditions: [
      { type: 'Ready', message },
      { type: 'Renewed', message: 'The token was renewed' },
    ],
    tokenUrl: 'https://auth.example/realms/abc-staging',
    observedGeneration: 3,
    nothing: null,
    empty: [],
  },
});

describe('shared parts', () => {
  it('leave an object as it was, to any depth', () => {
    const parts = new SharedParts();
    for (let i = 0; i < 3; i += 1) expect(parts.object(anObject())).toEqual(anObject());
  });

  it('are one object where two objects say the same', () => {
    const parts = new SharedParts();
    const [one, other] = [parts.object(anObject()), parts.object(anObject('It has expired'))];
    expect(other.target).toBe(one.target);
    expect(other.status.conditions[1]).toBe(one.status.conditions[1]);
    expect(other.status.conditions[0]).toEqual({ type: 'Ready', message: 'It has expired' });
    expect(one).toEqual(anObject());
  });

  it('are those of the object before where nothing is new', () => {
    const parts = new SharedParts();
    const before = parts.object(anObject());
    expect(parts.object(anObject(), before)).toBe(before);
    const after = parts.object(anObject('It has expired'), before);
    expect(after).toEqual(anObject('It has expired'));
    expect(after.target).toBe(before.target);
    expect(before).toEqual(anObject());
  });

  it.each<[string, object, object]>([
    ['a part more', { a: 'x', b: 'y' }, { a: 'x' }],
    ['a part less', { a: 'x' }, { a: 'x', b: 'y' }],
    ['a part of another name', { a: undefined }, { b: 'x' }],
    ['a list instead of an object', { a: [] }, { a: {} }],
    ['a number instead of a text', { a: 1 }, { a: '1' }],
    ['a part named like what every object has', { valueOf: {} }, { a: {} }],
  ])('tell apart: %s', (_, after, before) => {
    const parts = new SharedParts();
    const expected = structuredClone(after);
    expect(parts.object(after, before)).toStrictEqual(expected);
  });

  it('forget, so that what does not repeat takes no memory', () => {
    const parts = new SharedParts();
    const first = parts.object(anObject());
    for (let i = 0; i < 5_000; i += 1) parts.object({ part: { text: `a text of its own, ${i}` } });
    const later = parts.object(anObject());
    expect(later).toEqual(first);
    expect(later.target).not.toBe(first.target);
  });
});
