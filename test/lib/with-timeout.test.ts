import { describe, expect, it } from '@jest/globals';
import { seconds } from '../../src/lib/time.ts';
import { sleep, withTimeout } from '../../src/lib/with-timeout.ts';
import { FakeClock, settle } from '../controller/fake-clock.ts';

describe('a bounded wait', () => {
  it.each(['answer', 'rejection', 'limit', 'abort', 'too late'])(
    'ends by %s and leaves no timer behind',
    async (how) => {
      const clock = new FakeClock();
      const end = new AbortController();
      if (how === 'too late') end.abort();
      const task = Promise.withResolvers<number>();
      let inner: AbortSignal | undefined;
      const wait = withTimeout({ clock, limit: seconds(1), signal: end.signal }, (signal) => {
        inner = signal;
        return task.promise;
      }).catch(String);
      if (how === 'answer') task.resolve(42);
      if (how === 'rejection') task.reject(new Error('no'));
      if (how === 'limit') await clock.advance(seconds(1));
      if (how === 'abort') end.abort(new Error('enough'));
      const responses: Record<string, unknown> = { answer: 42, rejection: 'Error: no' };
      expect(await wait).toBe(responses[how]);
      expect(clock.timers).toBe(0);
      expect(inner?.aborted).toBe(how === 'too late' ? undefined : responses[how] === undefined);
      if (inner === undefined) return;
      task.reject(new Error('too late'));
      await settle();
    },
  );

  it('sleeps for its time', async () => {
    const clock = new FakeClock();
    let isAwake = false;
    const { signal } = new AbortController();
    void sleep({ clock, limit: 10, signal }).finally(() => {
      isAwake = true;
    });
    await clock.advance(9);
    expect(isAwake).toBe(false);
    await clock.advance(1);
    expect(isAwake).toBe(true);
  });
});
