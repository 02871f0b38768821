import { describe, expect, it } from '@jest/globals';
import { systemClock } from '../../src/lib/system-clock.ts';

describe('the system clock', () => {
  it('shows the time', () => {
    const before = Date.now();
    const shown = systemClock.now();
    expect(shown).toBeGreaterThanOrEqual(before);
    expect(shown).toBeLessThanOrEqual(Date.now());
  });

  it('calls back when a delay is over, and not when that is cancelled', async () => {
    const fired: string[] = [];
    const cancel = systemClock.after(1, () => fired.push('cancelled'));
    cancel();
    await new Promise<void>((resolve) => {
      systemClock.after(5, () => {
        fired.push('kept');
        resolve();
      });
    });
    expect(fired).toEqual(['kept']);
  });

  it.each([2 ** 31, 2 ** 53, Number.POSITIVE_INFINITY])(
    'does not fire at once for a delay of %d ms',
    async (delay) => {
      let hasFired = false;
      const cancel = systemClock.after(delay, () => {
        hasFired = true;
      });
      await new Promise<void>((resolve) => {
        systemClock.after(10, resolve);
      });
      cancel();
      expect(hasFired).toBe(false);
    },
  );
});
