import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { kindAndPlaceOf } from '../../src/lib/unexpected-error.ts';

const CANARY = 'CaNaRy';

class NoLuck extends Error {}

describe('what is said of an unforeseen error', () => {
  it('is its class and where it was thrown', () => {
    const { kind, at } = kindAndPlaceOf(new NoLuck(CANARY));
    expect(kind).toBe('NoLuck');
    expect(at).toMatch(/^[^ ]* ?\(?\/.*unexpected-error\.test\.ts:\d+:\d+\)?( < |$)/);
    expect(at.split(' < ').length).toBeLessThanOrEqual(5);
    expect(at).not.toMatch(/node:|CaNaRy/);
  });

  it('is the place in Node when no other is known', () => {
    const error = new Error(CANARY);
    error.stack = `Error: ${CANARY}\n    at node:internal/main/run_main_module:33:47`;
    expect(kindAndPlaceOf(error).at).toBe('node:internal/main/run_main_module:33:47');
  });

  it.each([[CANARY], [undefined], [null], [{ message: CANARY, stack: CANARY }], [4711]])(
    'is the type of what is no error: %p',
    (thrown) => expect(kindAndPlaceOf(thrown)).toEqual({ kind: typeof thrown, at: '' }),
  );

  it('is nothing of an error that can not be looked at', () => {
    const error = new Error(CANARY);
    Object.defineProperty(error, 'stack', {
      get: () => {
        throw new Error(CANARY);
      },
    });
    expect(kindAndPlaceOf(error)).toEqual({ kind: 'Error', at: '' });
  });

  it('is never a text that the error holds', () => {
    const text = fc
      .stringMatching(/^[a-z (\n]*$/)
      .map((words) => `${CANARY}${words}\n    at ${CANARY}\n`);
    fc.assert(
      fc.property(text, text, text, (message, later, name) => {
        const error = new Error(message, { cause: later });
        Object.assign(error, { name, message: later, code: name });
        expect(JSON.stringify(kindAndPlaceOf(error))).not.toContain(CANARY);
      }),
    );
  });
});
