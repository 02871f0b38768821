import type { Clock } from './clock.ts';

/** The longest delay of `setTimeout`, 24.8 days. It takes a longer one for 1 ms, and warns of a negative one. */
const LONGEST_DELAY = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),

  monotonic: () => performance.now(),

  after(delay, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(delay, 0), LONGEST_DELAY));
    return () => clearTimeout(timer);
  },
};
