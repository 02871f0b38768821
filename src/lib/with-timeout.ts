import type { Clock } from './clock.ts';
import type { Ms } from './time.ts';

export interface TimeoutOptions {
  readonly ms: Ms;
  readonly clock: Clock;
  /** Ends the wait early. */
  readonly signal?: AbortSignal;
}

/**
 * What `task` resolves with, or undefined when `ms` pass or `signal` fires first. Then the signal given to the task
 * fires; a task that ignores it goes on, and its result is dropped. Leaves no timer and no listener behind.
 */
export function withTimeout<T>(
  task: (signal: AbortSignal) => Promise<T>,
  { ms, clock, signal }: TimeoutOptions,
): Promise<T | undefined> {
  if (signal?.aborted) return Promise.resolve(undefined);
  const own = new AbortController();
  return new Promise((resolve, reject) => {
    const giveUp = () => {
      settle();
      resolve(undefined);
      own.abort(signal?.reason);
    };
    const cancel = clock.after(ms, giveUp);
    const settle = () => {
      cancel();
      signal?.removeEventListener('abort', giveUp);
    };
    signal?.addEventListener('abort', giveUp, { once: true });
    task(own.signal).finally(settle).then(resolve, reject);
  });
}

/** Resolves after `ms`, or at once when `signal` fires. */
export const sleep = (options: TimeoutOptions): Promise<void> =>
  withTimeout(() => new Promise<void>(() => undefined), options);

/** Resolves when `signal` fires. `over` removes the listener of a wait that is no longer needed. */
export function aborted(signal: AbortSignal, over?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const options = over === undefined ? { once: true } : { once: true, signal: over };
    signal.addEventListener('abort', () => resolve(), options);
  });
}

/**
 * A promise that its maker resolves, unless `signal` fires first: then `onAbort` is called and the promise rejects
 * with the signal's reason. `signal` must not have fired before.
 */
export function abortable(
  signal: AbortSignal,
  onAbort: () => void,
): { readonly promise: Promise<void>; readonly resolve: () => void } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = () => {
    onAbort();
    reject(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  const settle = () => {
    signal.removeEventListener('abort', abort);
    resolve();
  };
  return { promise, resolve: settle };
}

/** Thrown by callers for whom `undefined` from `withTimeout` is an error. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
  readonly code = 'TIMEOUT';
}
