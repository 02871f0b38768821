import type { Clock } from './clock.ts';
import type { Ms } from './time.ts';

export interface TimeoutOptions {
  readonly clock: Clock;
  readonly limit: Ms;
  readonly signal: AbortSignal;
}

/**
 * What `task` answers, or undefined when `limit` passes or `signal` fires first; then the signal that the task was
 * given fires, and nobody waits for a task that does not listen. Leaves no timer and no listener behind.
 */
export function withTimeout<T>(
  { clock, limit, signal }: TimeoutOptions,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  const own = new AbortController();
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      settle();
      resolve(undefined);
      own.abort(signal.reason);
    };
    const cancel = clock.after(limit, giveUp);
    const settle = () => {
      cancel();
      signal.removeEventListener('abort', giveUp);
    };
    signal.addEventListener('abort', giveUp, { once: true });
    task(own.signal).finally(settle).then(resolve, reject);
  });
}

/** Resolves after `limit`, or at once when `signal` fires. */
export const sleep = (bounds: TimeoutOptions): Promise<void> =>
  withTimeout(bounds, () => new Promise<void>(() => undefined));
