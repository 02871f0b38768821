import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { seconds } from '../../src/lib/time.ts';
import { abortable, aborted, sleep, withTimeout } from '../../src/lib/with-timeout.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

describe('withTimeout', () => {
  it.each(['response', 'rejection', 'timeout', 'abort', 'aborted before'])(
    'ends by %s and leaves no timer and no listener behind',
    async (how) => {
      const clock = new FakeClock();
      const end = new AbortController();
      if (how === 'aborted before') end.abort();
      const task = Promise.withResolvers<number>();
      let inner: AbortSignal | undefined;
      const wait = withTimeout(
        (signal) => {
          inner = signal;
          return task.promise;
        },
        { ms: seconds(1), clock, signal: end.signal },
      ).catch(String);
      if (how === 'response') task.resolve(42);
      if (how === 'rejection') task.reject(new Error('no'));
      if (how === 'timeout') await clock.advance(seconds(1));
      if (how === 'abort') end.abort(new Error('enough'));
      const results: Record<string, unknown> = { response: 42, rejection: 'Error: no' };
      expect(await wait).toBe(results[how]);
      expect([clock.timers, listeners(end.signal)]).toEqual([0, 0]);
      expect(inner?.aborted).toBe(
        how === 'aborted before' ? undefined : results[how] === undefined,
      );
      if (inner === undefined) return;
      task.reject(new Error('too late to be heard'));
      await settle();
    },
  );

  it('needs no signal', async () => {
    const clock = new FakeClock();
    const wait = withTimeout(() => new Promise(() => undefined), { ms: 10, clock });
    await clock.advance(10);
    expect(await wait).toBeUndefined();
  });
});

describe('sleep', () => {
  it('resolves after its time', async () => {
    const clock = new FakeClock();
    let isAwake = false;
    const { signal } = new AbortController();
    void sleep({ ms: 10, clock, signal }).finally(() => {
      isAwake = true;
    });
    await clock.advance(9);
    expect(isAwake).toBe(false);
    await clock.advance(1);
    expect(isAwake).toBe(true);
  });
});

describe('aborted', () => {
  it('resolves when the signal fires, and at once when it has fired before', async () => {
    const end = new AbortController();
    const seen: string[] = [];
    const wait = aborted(end.signal).then(() => seen.push('aborted'));
    await settle();
    seen.push('abort');
    end.abort();
    await wait;
    await aborted(end.signal);
    expect(seen).toEqual(['abort', 'aborted']);
    expect(listeners(end.signal)).toBe(0);
  });

  it('leaves no listener once the wait is over', () => {
    const [end, over] = [new AbortController(), new AbortController()];
    void aborted(end.signal, over.signal);
    expect(listeners(end.signal)).toBe(1);
    over.abort();
    expect(listeners(end.signal)).toBe(0);
  });
});

describe('abortable', () => {
  it('resolves and leaves no listener behind', async () => {
    const end = new AbortController();
    const { promise, resolve } = abortable(end.signal, () => undefined);
    expect(listeners(end.signal)).toBe(1);
    resolve();
    await promise;
    expect(listeners(end.signal)).toBe(0);
  });

  it("rejects with the signal's reason, after it has called back", async () => {
    const end = new AbortController();
    const called: string[] = [];
    const { promise } = abortable(end.signal, () => called.push('onAbort'));
    end.abort(new Error('enough'));
    expect(called).toEqual(['onAbort']);
    await expect(promise).rejects.toThrow('enough');
  });
});
