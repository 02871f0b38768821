import type { Ms } from '../domain/time.ts';
import type { Clock } from '../ports.ts';

/** Waits so long, or until the signal fires, whichever comes first. Never rejects. */
export function sleep(clock: Clock, delay: Ms, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = clock.after(delay, end);
    signal.addEventListener('abort', end, { once: true });
  });
}
