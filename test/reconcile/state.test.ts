import { describe, expect, it } from '@jest/globals';
import { type CredentialState, CredentialStates } from '../../src/reconcile/state.ts';

const KEY = 'shop/loyalty';

describe('memories', () => {
  it.each<[string, Partial<CredentialState>]>([
    ['a failed request', { failedRequests: 1 }],
    ['a failed log-out', { failedLogouts: 1 }],
    ['the version of the target', { intactVersion: '7' }],
    ['the end of a session', { sessionEnds: [1] }],
  ])('outlive a reconcile: %s', (_, remembered) => {
    const memories = new CredentialStates();
    const memory = Object.assign(memories.of(KEY), remembered);
    memories.tidy(KEY);
    expect(memories.of(KEY)).toBe(memory);
  });

  it('are gone after a reconcile when there is nothing to remember', () => {
    const memories = new CredentialStates();
    const memory = memories.of(KEY);
    expect(memories.of(KEY)).toBe(memory);
    memory.failedRequests = 1;
    memory.failedRequests = 0;
    memories.tidy(KEY);
    expect(memories.of(KEY)).not.toBe(memory);
  });

  it('are gone when they are forgotten, whatever they hold', () => {
    const memories = new CredentialStates();
    memories.of(KEY).failedRequests = 1;
    memories.forget(KEY);
    expect(memories.of(KEY).failedRequests).toBe(0);
  });
});
