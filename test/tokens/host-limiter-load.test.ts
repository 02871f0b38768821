import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import type { HostLimits } from '../../src/tokens/host-limiter.ts';
import { HostLimiters } from '../../src/tokens/host-limiters.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

/** In requests: permits are doubles, and a request may start when a thousandth of a permit is missing. */
const ROUNDING = 0.01;
const HOST = 'auth.example';

const aRequest = fc.record({
  realm: fc.constant('abc'),
  namespaces: fc.constant(new Set(['shop'])),
  at: fc.integer({ min: 0, max: 5_000 }),
  deadline: fc.integer({ min: 0, max: 20 }),
  login: fc.boolean(),
  takes: fc.integer({ min: 0, max: 2_000 }),
  outcome: fc.constantFrom('responded', 'unreachable'),
  pauses: fc.option(fc.integer({ min: -100, max: 3_000 }), { nil: undefined }),
  leaves: fc.option(fc.integer({ min: 0, max: 3_000 }), { nil: undefined }),
});
const someLimits = fc.record({
  requestsPerSecond: fc.constantFrom(0.5, 1, 3, 7),
  passwordLoginsPerSecond: fc.constantFrom(0.3, 1, 4),
  burst: fc.integer({ min: 1, max: 4 }),
  concurrency: fc.integer({ min: 1, max: 3 }),
});

type Asked = typeof aRequest extends fc.Arbitrary<infer R> ? R : never;

/** Requests to one host, watched for what the limiter must never let happen. */
class Load {
  readonly clock = new FakeClock();
  readonly limiter: HostLimiters;
  readonly starts: Ms[] = [];
  readonly logins: Ms[] = [];
  ended = 0;
  faultsInARow = 0;
  readonly #limits: HostLimits;
  readonly #jitter: number;
  readonly #waiting = new Set<Asked>();
  #running = 0;
  #timesOpened = 0;
  #openUntil = 0;
  #pausedUntil = 0;
  #toldAt = -1;

  constructor(limits: HostLimits, jitter: number) {
    this.#limits = limits;
    this.#jitter = jitter;
    this.limiter = new HostLimiters(limits, this.clock, () => jitter);
  }

  async ask(asked: Asked): Promise<void> {
    const leaving = new AbortController();
    if (asked.leaves !== undefined) this.clock.after(asked.leaves, () => leaving.abort());
    leaving.signal.addEventListener('abort', () => this.#waiting.delete(asked));
    this.#waiting.add(asked);
    const run = this.limiter.run(HOST, asked, () => this.#task(asked), leaving.signal);
    await run.catch((error: unknown) => {
      if (error !== leaving.signal.reason) throw error;
    });
    this.ended += 1;
  }

  async #task(asked: Asked): Promise<void> {
    const passed = this.clock.monotonic();
    this.#waiting.delete(asked);
    this.starts.push(passed);
    if (asked.login) this.logins.push(passed);
    this.#running += 1;
    this.#expectToBeAllowed(passed);
    await this.#expectNobodyMoreUrgentThan(asked);
    await new Promise<void>((resolve) => this.clock.after(asked.takes, resolve));
    this.#running -= 1;
    this.#tell(asked);
  }

  /** A request that was let through in the same moment as others reported may begin a promise or two later. */
  #expectToBeAllowed(now: Ms): void {
    expect(this.#running).toBeLessThanOrEqual(this.#limits.concurrency);
    if (now === this.#toldAt) return;
    if (this.faultsInARow >= 5) expect(this.#running).toBe(1);
    expect(now).toBeGreaterThanOrEqual(Math.max(this.#pausedUntil, this.#openUntil) - ROUNDING);
  }

  /** Others may pass a login, which may wait for a permit of its own; no other request may be passed. */
  async #expectNobodyMoreUrgentThan({ login, deadline }: Asked): Promise<void> {
    const others = [...this.#waiting].filter((other) => login || !other.login);
    // Requests whose turn has come in the same moment may begin a promise or two later.
    for (let hop = 0; hop < 3; hop += 1) await Promise.resolve();
    for (const other of others.filter((other) => this.#waiting.has(other))) {
      expect(other.deadline).toBeGreaterThanOrEqual(deadline);
    }
  }

  #tell(asked: Asked): void {
    const { outcome, pauses } = asked;
    const now = this.clock.monotonic();
    this.#toldAt = now;
    if (outcome === 'responded') this.#answered();
    else this.#failed(now);
    this.limiter.report(HOST, asked, outcome);
    if (pauses === undefined) return;
    this.#pausedUntil = Math.max(this.#pausedUntil, now + pauses);
    this.limiter.pause(HOST, asked, this.clock.now() + pauses);
  }

  #answered(): void {
    this.faultsInARow = 0;
    this.#timesOpened = 0;
    this.#openUntil = 0;
  }

  #failed(now: Ms): void {
    this.faultsInARow += 1;
    if (this.faultsInARow < 5 || now < this.#openUntil) return;
    const wait = Math.min(seconds(2) * 2 ** this.#timesOpened, seconds(10));
    this.#openUntil = now + wait * (1 - this.#jitter / 5);
    this.#timesOpened += 1;
  }
}

function expectWithin(starts: readonly Ms[], perSecond: number, burst: number): void {
  for (const [first, from] of starts.entries()) {
    for (const [more, to] of starts.slice(first).entries()) {
      const allowed = burst + ((to - from) / 1_000) * perSecond;
      expect(more + 1).toBeLessThanOrEqual(allowed + ROUNDING);
    }
  }
}

describe('a host limiter under any load', () => {
  it('exceeds no rate, lets no request through that must wait, serves by deadline, and all in the end', async () => {
    await fc.assert(
      fc.asyncProperty(
        someLimits,
        fc.array(aRequest, { maxLength: 25 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        async (limits, requests, jitter) => {
          const load = new Load(limits, jitter);
          const all: Promise<void>[] = [];
          for (const request of requests) {
            load.clock.after(request.at, () => all.push(load.ask(request)));
          }
          while (load.ended < requests.length && load.clock.monotonic() < hours(2)) {
            await load.clock.advance(minutes(1));
          }
          await Promise.all(all);
          expectWithin(load.starts, limits.requestsPerSecond, limits.burst);
          expectWithin(load.logins, limits.passwordLoginsPerSecond, 2);
          await load.clock.advance(minutes(20));
          const remembered = load.faultsInARow > 0 ? 1 : 0;
          expect([load.limiter.snapshot().length, load.clock.timers]).toEqual([remembered, 0]);
        },
      ),
      { numRuns: runs(3_000) },
    );
  }, 120_000);
});
