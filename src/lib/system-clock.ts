import type { Clock } from './clock.ts';

/** `setTimeout` fires at once for anything longer, and warns of what is negative. */
const LONGEST_DELAY = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),

  monotonic: () => performance.now(),

  after(delay, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delay, 0), LONGEST_DELAY));
    return () => clearTimeout(timer);
  },
};
