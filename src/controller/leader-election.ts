import type { Clock, Random } from '../lib/clock.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { sleep, withTimeout } from '../lib/with-timeout.ts';
import { JITTER, type LeaseTimes, timesTooLong } from './lease.ts';
import { LeaseHolder, type LeaseHolderOptions, type Term } from './lease-holder.ts';

/** After the end of the work, for a renewal in flight and the release together. */
const RELEASE: Ms = seconds(3);

export interface LeaderElectionOptions extends LeaseHolderOptions, LeaseTimes {
  readonly random: Random;
  /**
   * The work of the leader. When `lost` fires nothing may be written any more and it must end; it must also end by
   * itself on a stop, and keeps the Lease until it has ended.
   */
  readonly lead: (leadership: Leadership) => Promise<void>;
}

export interface Leadership {
  /** Fires when the Lease is lost. */
  readonly lost: AbortSignal;
  /**
   * Call it right before each write. A process that was stopped for longer than its term runs on before any timer
   * fires, so the monotonic clock is asked.
   * @throws the reason of `lost` once the Lease is lost
   */
  readonly assertHeld: () => void;
}

/**
 * Contends for the Lease until `signal` fires, and leads at most once. As long as the timers of all replicas run at
 * about the same pace, a leader acts for at most `renewDeadline` after it sent its last successful renewal, and no
 * replica takes the Lease of another before it was unchanged for `leaseDuration`.
 * @returns `stopped` when the work has ended and the Lease was released, or this replica never led; `lost` when
 *   leading was cut short. It may be called again in either case.
 * @throws RangeError for times that cannot work; what the work throws
 */
export async function runLeaderElection(
  options: LeaderElectionOptions,
  signal: AbortSignal,
): Promise<'stopped' | 'lost'> {
  const { leaseDuration, renewDeadline, retryPeriod } = options;
  if (
    timesTooLong(options).length > 0 ||
    Number.isNaN(leaseDuration + renewDeadline + retryPeriod)
  ) {
    throw new RangeError('leaseDuration > renewDeadline > 1.2 × retryPeriod must hold');
  }
  const lease = new LeaseHolder(options);
  try {
    const term = await contend(lease, options, signal);
    return term === undefined ? 'stopped' : await lead(lease, options, term);
  } finally {
    lease.close();
  }
}

/** Tries every 1 to 2.2 retry periods, so a Lease that was released has a new holder within that time. */
async function contend(
  lease: LeaseHolder,
  { clock, random, retryPeriod }: LeaderElectionOptions,
  signal: AbortSignal,
): Promise<Term | undefined> {
  while (!signal.aborted) {
    const term = await lease.acquire(signal);
    if (typeof term === 'object') return term;
    await sleep({ clock, ms: retryPeriod * (1 + JITTER * random()), signal });
  }
  return undefined;
}

async function lead(
  lease: LeaseHolder,
  options: LeaderElectionOptions,
  first: Term,
): Promise<'stopped' | 'lost'> {
  const lost = new AbortController();
  const warn = () => options.log.warn('The Lease is lost; this replica leads no more');
  lost.signal.addEventListener('abort', warn);
  const ended = new AbortController();
  const leading = new LeadershipTerm(first, options.clock, lost);
  const cut = new AbortController();
  const renewing = keepRenewing(lease, options, leading, { ended: ended.signal, cut: cut.signal });
  try {
    await options.lead(leading);
  } finally {
    ended.abort();
    await withTimeout(
      async (signal) => {
        await renewing;
        await lease.release(signal);
      },
      { ms: RELEASE, clock: options.clock, signal: lost.signal },
    );
    cut.abort();
    await renewing;
  }
  return lost.signal.aborted ? 'lost' : 'stopped';
}

/** The term of a leader, extended by each renewal of the Lease. */
class LeadershipTerm implements Leadership {
  readonly #clock: Clock;
  readonly #lost: AbortController;
  #term: Term;

  constructor(first: Term, clock: Clock, lost: AbortController) {
    this.#clock = clock;
    this.#lost = lost;
    this.#term = first;
    first.signal.addEventListener('abort', this.lose);
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  readonly assertHeld = (): void => {
    if (this.#clock.monotonic() >= this.#term.endsAt) this.lose();
    this.lost.throwIfAborted();
  };

  readonly lose = (): void => this.#lost.abort(new Error('The Lease is lost'));

  extend(next: Term): void {
    this.#term.cancel();
    this.#term = next;
    next.signal.addEventListener('abort', this.lose);
  }

  end(): void {
    this.#term.cancel();
  }
}

/** Until the work has ended or the Lease is lost. A renewal in flight goes on until `cut`: the release needs its version. */
async function keepRenewing(
  lease: LeaseHolder,
  { clock, retryPeriod }: LeaderElectionOptions,
  leading: LeadershipTerm,
  { ended, cut }: { readonly ended: AbortSignal; readonly cut: AbortSignal },
): Promise<void> {
  const over = AbortSignal.any([leading.lost, ended]);
  const unwanted = AbortSignal.any([leading.lost, cut]);
  while (!over.aborted) {
    await sleep({ ms: retryPeriod, clock, signal: over });
    if (over.aborted) break;
    const next = await lease.renew(unwanted);
    if (next === 'taken') leading.lose();
    if (typeof next === 'object') leading.extend(next);
  }
  leading.end();
}
