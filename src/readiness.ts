import type { Clock } from './lib/clock.ts';
import { type Ms, minutes } from './lib/time.ts';
import type { CheckResult } from './telemetry/operations-server.ts';

/** For so long what has worked may fail before the operator counts as not ready. */
const PATIENCE: Ms = minutes(5);
/** A failed write is tried again sooner than this, unless it is not wanted any more. */
const LAST_TRY: Ms = minutes(20);

/** Part of /readyz. */
export interface Check {
  works(): void;
  /** @param reason says what is missing, in words that anybody may read */
  fails(reason: string): void;
}

interface Problem {
  readonly reason: string;
  /** By the monotonic clock: since when it has failed in each try, and the last of them. */
  readonly since: Ms;
  readonly last: Ms;
}

class Part implements Check {
  readonly #clock: Clock;
  problem: Problem | undefined;
  hasWorked = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  works(): void {
    this.problem = undefined;
    this.hasWorked = true;
  }

  fails(reason: string): void {
    const last = this.#clock.monotonic();
    this.problem = { reason, last, since: this.problem?.since ?? last };
  }

  /** It has never worked, or not for a while. */
  get isBroken(): boolean {
    if (this.problem === undefined) return false;
    return !this.hasWorked || this.#clock.monotonic() - this.problem.since >= PATIENCE;
  }
}

/**
 * What /readyz tells. The operator is not ready before it has reached the Lease once, when no namespace can be listed
 * and watched, and when nothing could be written for five minutes; else what fails is only named. Nothing here concerns
 * /livez: a restart would not help.
 */
export class Readiness {
  readonly #clock: Clock;
  readonly #lease: Part;
  readonly #watches = new Map<
    string,
    { readonly scope: string | undefined; readonly isNeeded: boolean; readonly part: Part }
  >();
  readonly #writes: Part;
  #needsLease = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lease = new Part(clock);
    this.#writes = new Part(clock);
    this.#writes.works();
  }

  /** Only until it works for the first time. */
  lease(): Check {
    this.#needsLease = true;
    return {
      works: () => this.#lease.works(),
      fails: (reason) => {
        if (!this.#lease.hasWorked) this.#lease.fails(reason);
      },
    };
  }

  /**
   * @param scope the namespace; undefined: the cluster
   * @param isNeeded without it nothing of its scope can be served
   */
  watch(name: string, scope: string | undefined, isNeeded = true): Check {
    const part = new Part(this.#clock);
    this.#watches.set(name, { scope, isNeeded, part });
    return part;
  }

  /** Of Secrets and statuses. */
  get writes(): Check {
    return this.#writes;
  }

  get results(): ReadonlyMap<CheckResult[0], CheckResult[1]> {
    const isUnlisted = this.#isNothingListed;
    const watches = Array.from(this.#watches, ([name, { isNeeded, part }]): CheckResult => {
      return [name, resultOf(part, isNeeded && isUnlisted && part.isBroken)];
    });
    const lease: CheckResult = ['lease', resultOf(this.#lease, true)];
    return new Map([...watches, ...(this.#needsLease ? [lease] : []), ['writes', this.#written]]);
  }

  /** Of every scope a list or watch is broken. */
  get #isNothingListed(): boolean {
    const all = [...this.#watches.values()].filter(({ isNeeded }) => isNeeded);
    const broken = new Set(all.filter(({ part }) => part.isBroken).map(({ scope }) => scope));
    return all.every(({ scope }) => broken.has(scope));
  }

  get #written(): CheckResult[1] {
    const { problem } = this.#writes;
    const isOver = problem !== undefined && this.#clock.monotonic() - problem.last > LAST_TRY;
    return isOver || resultOf(this.#writes, this.#writes.isBroken);
  }
}

function resultOf({ problem }: Part, isFatal: boolean): CheckResult[1] {
  if (problem === undefined) return true;
  return isFatal ? problem.reason : { degraded: problem.reason };
}
