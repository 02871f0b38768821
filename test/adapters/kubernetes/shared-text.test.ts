import { describe, expect, it } from '@jest/globals';
import { SharedText } from '../../../src/adapters/kubernetes/shared-text.ts';

describe('shared texts', () => {
  it('leave an object as it was, to any depth', () => {
    const object = () => ({
      name: 'loyalty',
      status: {
        conditions: [{ type: 'Ready', message: 'Secret "loyalty-token" holds a valid token' }],
        tokenUrl: 'https://auth.example/realms/abc-staging',
        observedGeneration: 3,
        nothing: null,
      },
    });
    const texts = new SharedText();
    for (let i = 0; i < 3; i += 1) expect(texts.within(object())).toEqual(object());
  });

  it('forget, so that texts that do not repeat take no memory', () => {
    const texts = new SharedText();
    const one = { text: 'a text that comes back' };
    texts.within(one);
    for (let i = 0; i < 5_000; i += 1) texts.within({ text: `a text of its own, ${i}` });
    expect(texts.within({ text: 'a text that comes back' })).toEqual(one);
  });
});
