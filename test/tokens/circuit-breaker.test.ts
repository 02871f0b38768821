import { describe, expect, it } from '@jest/globals';
import { seconds } from '../../src/lib/time.ts';
import { CircuitBreaker } from '../../src/tokens/circuit-breaker.ts';

describe('a circuit breaker', () => {
  /** Opens at 0 for 2 s. */
  function opened(): CircuitBreaker {
    const breaker = new CircuitBreaker(() => 0);
    for (let n = 0; n < 5; n += 1) breaker.onError(0);
    return breaker;
  }

  it('opens after five errors in a row', () => {
    const breaker = new CircuitBreaker(() => 0);
    for (let n = 0; n < 4; n += 1) breaker.onError(0);
    breaker.onSuccess();
    for (let n = 0; n < 4; n += 1) breaker.onError(0);
    expect([breaker.state(0), breaker.failedCalls]).toEqual(['closed', 4]);
    breaker.onError(0);
    expect([breaker.state(0), breaker.waitLeft(0)]).toEqual(['open', seconds(2)]);
  });

  it('is half-open after the wait, closed after a success, open for longer after an error', () => {
    const breaker = opened();
    expect(breaker.state(seconds(2) - 1)).toBe('open');
    expect(breaker.state(seconds(2))).toBe('half-open');
    breaker.onError(seconds(2));
    expect([breaker.state(seconds(2)), breaker.waitLeft(seconds(2))]).toEqual(['open', seconds(4)]);
    breaker.onSuccess();
    expect([breaker.state(seconds(2)), breaker.failedCalls]).toEqual(['closed', 0]);
  });

  it('does not wait longer for errors of requests that were sent before it opened', () => {
    const breaker = opened();
    breaker.onError(seconds(1));
    expect(breaker.waitLeft(seconds(1))).toBe(seconds(1));
  });

  it('closes again by the success of a request that was sent before it opened', () => {
    const breaker = opened();
    breaker.onSuccess();
    expect([breaker.state(0), breaker.waitLeft(0)]).toEqual(['closed', -Infinity]);
  });
});
