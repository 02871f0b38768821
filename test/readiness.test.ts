import { beforeEach, describe, expect, it } from '@jest/globals';
import { minutes, seconds } from '../src/lib/time.ts';
import { Readiness } from '../src/readiness.ts';
import { FakeClock } from './support/fake-clock.ts';

describe('what /readyz tells', () => {
  let clock: FakeClock;
  let readiness: Readiness;

  beforeEach(() => {
    clock = new FakeClock();
    readiness = new Readiness(clock);
  });

  const results = () => Object.fromEntries(readiness.results);
  const isReady = (): boolean =>
    [...readiness.results.values()].every((result) => typeof result !== 'string');

  it('is not ready before the Lease was reached once, and does not mind it from then on', () => {
    const lease = readiness.lease();
    lease.fails('no answer');
    expect(results()).toEqual({ lease: 'no answer', writes: true });
    lease.works();
    lease.fails('no answer');
    clock.step(minutes(10));
    expect(results()).toEqual({ lease: true, writes: true });
  });

  it('names what fails, and is not ready when no namespace could be listed for 5 minutes', () => {
    const a = readiness.watch('secrets in a', 'a');
    const b = readiness.watch('secrets in b', 'b');
    for (const watch of [a, b]) watch.works();
    a.fails('may not list');
    clock.step(minutes(5));
    b.fails('may not list either');
    expect(results()).toMatchObject({
      'secrets in a': { degraded: 'may not list' },
      'secrets in b': { degraded: 'may not list either' },
    });
    clock.step(minutes(5) - 1);
    expect(isReady()).toBe(true);
    clock.step(1);
    expect(results()).toMatchObject({
      'secrets in a': 'may not list',
      'secrets in b': 'may not list either',
    });
    b.works();
    expect(isReady()).toBe(true);
  });

  it('is not ready when either credentials or Secrets can not be listed', () => {
    const credentials = readiness.watch('credentials', undefined);
    const secrets = readiness.watch('secrets', undefined);
    credentials.works();
    secrets.fails('the first list is not complete yet');
    expect(isReady()).toBe(false);
    secrets.works();
    credentials.fails('no answer');
    clock.step(minutes(5));
    expect(results()).toMatchObject({ credentials: 'no answer', secrets: true });
  });

  describe('of writes', () => {
    it('is not ready when none has succeeded for 5 minutes of tries', () => {
      const { writes } = readiness;
      writes.fails('no answer');
      clock.step(minutes(4));
      writes.fails('may not patch secrets');
      expect(results()).toEqual({ writes: { degraded: 'may not patch secrets' } });
      clock.step(minutes(1));
      expect(results()).toEqual({ writes: 'may not patch secrets' });
      writes.works();
      expect(results()).toEqual({ writes: true });
      writes.fails('no answer');
      expect(isReady()).toBe(true);
    });

    it('is ready again when nothing is to be written any more', () => {
      readiness.writes.fails('no answer');
      clock.step(minutes(20));
      expect(isReady()).toBe(false);
      clock.step(seconds(1));
      expect(results()).toEqual({ writes: true });
    });
  });
});
