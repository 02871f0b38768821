import type { Clock } from '../lib/clock.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import type { Log } from '../lib/log.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { withTimeout } from '../lib/with-timeout.ts';
import { ErrorReporter, unexpectedError } from './error-reporter.ts';
import type { LeaseRecord, LeaseStore, LeaseTimes } from './lease.ts';

export interface LeaseHolderOptions extends Omit<LeaseTimes, 'retryPeriod'> {
  readonly store: LeaseStore;
  /** Of one process only. */
  readonly identity: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** `leaseDurationSeconds` of a Lease that its holder has released. */
const RELEASED: Ms = seconds(1);

/** How long a successful write counts. */
export interface Term {
  /** Fires when it is over; late in a process that was stopped meanwhile. */
  readonly signal: AbortSignal;
  /** By the monotonic clock. */
  readonly endsAt: Ms;
  /** Drops the deadline: renewed, or no longer needed. */
  readonly cancel: () => void;
}

/** `taken`: another replica holds the Lease. Undefined: the request failed. */
export type LeaseWriteResult = Term | 'taken' | undefined;

/**
 * One contender's view of the Lease, and its writes. Time is measured by timers and the monotonic clock, never by
 * the wall clock: it does not matter what the clocks of the machines show or whether they are set.
 */
export class LeaseHolder {
  readonly #options: LeaseHolderOptions;
  readonly #errors: ErrorReporter;
  /** The Lease as last seen; undefined when there is none. */
  #seen: LeaseRecord | undefined;
  /** It has not changed for the lease duration since it was last seen to change. */
  #isExpired = false;
  #cancelExpiry: () => void = () => undefined;
  #lastHolder = '';

  constructor(options: LeaseHolderOptions) {
    this.#options = options;
    this.#errors = new ErrorReporter((failure) => report(options.log, failure));
  }

  /** Takes the Lease when it has no holder, is ours or has expired. */
  async acquire(signal: AbortSignal): Promise<LeaseWriteResult> {
    if (!(await this.#look(signal))) return undefined;
    const isFree = isReleased(this.#seen) || this.#isOurs || this.#isExpired;
    return isFree ? this.#put(() => this.#ours(), signal) : 'taken';
  }

  renew(signal: AbortSignal): Promise<LeaseWriteResult> {
    return this.#put(() => this.#ours(), signal);
  }

  /** Best effort; without it the other replicas wait for the lease duration. To be called after the work has ended. */
  async release(signal: AbortSignal): Promise<void> {
    const written = await this.#put(
      () => ({ ...this.#ours(), holder: '', duration: RELEASED }),
      signal,
    );
    if (typeof written === 'object') written.cancel();
  }

  /** Ends the one timer that runs between the calls. */
  close(): void {
    this.#cancelExpiry();
  }

  get #isOurs(): boolean {
    return this.#seen?.holder === this.#options.identity;
  }

  #ours(): LeaseRecord {
    const { identity, leaseDuration, clock } = this.#options;
    const now = clock.now();
    const mine = { holder: identity, duration: leaseDuration, renewedAt: now };
    const seen = this.#seen;
    if (seen === undefined) return { ...mine, acquiredAt: now, transitions: 0 };
    if (this.#isOurs) return { ...seen, ...mine };
    return { ...seen, ...mine, acquiredAt: now, transitions: seen.transitions + 1 };
  }

  async #put(make: () => LeaseRecord, signal: AbortSignal): Promise<LeaseWriteResult> {
    const first = await this.#write(make(), signal);
    if (first !== 'conflict') return first;
    // An earlier write of ours may have arrived although its response did not
    if (!(await this.#look(signal))) return undefined;
    if (!this.#isOurs) return 'taken';
    const second = await this.#write(make(), signal);
    return second === 'conflict' ? undefined : second;
  }

  /** The term counts from before the request is sent, so that it ends before another replica takes the Lease. */
  async #write(record: LeaseRecord, signal: AbortSignal): Promise<Term | 'conflict' | undefined> {
    const { store, clock, renewDeadline } = this.#options;
    const over = new AbortController();
    const endsAt = clock.monotonic() + renewDeadline;
    const cancel = clock.after(renewDeadline, () => over.abort());
    const written = await this.#ask((own) => store.write(record, own), signal);
    if (typeof written === 'object') this.#observe(written);
    const isOver = over.signal.aborted || clock.monotonic() >= endsAt;
    if (typeof written === 'object' && !isOver) return { signal: over.signal, endsAt, cancel };
    cancel();
    return written === 'conflict' ? 'conflict' : undefined;
  }

  async #look(signal: AbortSignal): Promise<boolean> {
    const seen = await this.#ask((own) => this.#options.store.read(own), signal);
    if (seen === undefined) return false;
    this.#observe(seen === 'absent' ? undefined : seen);
    return true;
  }

  /** Undefined when it failed, timed out or was aborted. */
  async #ask<T extends LeaseRecord | string>(
    task: (signal: AbortSignal) => Promise<T | Failure>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const { clock, renewDeadline } = this.#options;
    const response = await withTimeout(task, { ms: renewDeadline, clock, signal }).catch(
      (error: unknown) => unexpectedError('The request for the Lease', error),
    );
    if (isFailure(response)) {
      this.#errors.add(response);
      return undefined;
    }
    if (response !== undefined) this.#errors.clear();
    return response;
  }

  /** With any change the lease duration starts again. */
  #observe(record: LeaseRecord | undefined): void {
    const hasChanged = record?.resourceVersion !== this.#seen?.resourceVersion;
    this.#seen = record;
    if (!hasChanged) return;
    this.#cancelExpiry();
    this.#isExpired = false;
    const { clock, leaseDuration } = this.#options;
    const maxWait = Math.max(record?.duration ?? 0, leaseDuration);
    this.#cancelExpiry = clock.after(maxWait, () => {
      this.#isExpired = true;
    });
    this.#announce(record?.holder ?? '');
  }

  #announce(holder: string): void {
    if (holder !== '' && holder !== this.#lastHolder) {
      this.#options.log.info('The Lease has a new holder', { holder });
    }
    this.#lastHolder = holder;
  }
}

/** As client-go releases it. Where the name alone was taken out, its holder does not know that yet. */
const isReleased = (seen: LeaseRecord | undefined): boolean =>
  seen === undefined || (seen.holder === '' && seen.duration <= RELEASED);

function report(log: Log, failure: Failure | undefined): void {
  if (failure === undefined) log.info('The Lease can be reached again');
  else log.warn(failure.message, { reason: failure.kind });
}
