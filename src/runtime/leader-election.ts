import { isFailure } from '../domain/failure.ts';
import type { EpochMs, Ms } from '../domain/time.ts';
import type { Clock, LeaseRecord, LeaseStore, Log, Random } from '../ports.ts';
import { sleep } from './sleep.ts';

export interface ElectionOptions {
  readonly store: LeaseStore;
  readonly identity: string;
  /** How long others wait after the last renewal that they saw. */
  readonly leaseDuration: Ms;
  /** A leader that could not renew for so long stops leading. Shorter than the duration. */
  readonly renewDeadline: Ms;
  readonly retryPeriod: Ms;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** One term: until it ends by itself (the Lease is released then) or `lost` fires, after which nothing may be written. */
  readonly lead: (lost: AbortSignal) => Promise<void>;
}

/**
 * Leads whenever the Lease is ours, until the signal fires. Single writer by time: others take over only when
 * `leaseDuration` has passed since they saw the record change (by their own clock), and we stop `renewDeadline`
 * after our last success.
 */
export async function runLeaderElection(
  options: ElectionOptions,
  signal: AbortSignal,
): Promise<void> {
  const elector = new Elector(options);
  while (!signal.aborted) {
    await elector.acquire(signal);
    if (!signal.aborted) await elector.lead();
  }
}

class Elector {
  readonly #options: ElectionOptions;
  /** The record as last seen, and when it was first seen like that. */
  #seen: LeaseRecord | undefined;
  #seenAt: EpochMs = 0;
  #problem: string | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  async acquire(signal: AbortSignal): Promise<void> {
    const { clock, retryPeriod, random } = this.#options;
    while (!signal.aborted && !(await this.#tryToHold(signal))) {
      await sleep(clock, retryPeriod * (1 + random() * 0.2), signal);
    }
  }

  async lead(): Promise<void> {
    const { lead, log, identity } = this.#options;
    const lost = new AbortController();
    const over = new AbortController();
    log.info('Leading', { identity });
    const renewing = this.#keep(lost, over.signal);
    await lead(lost.signal);
    over.abort();
    await renewing;
    if (lost.signal.aborted) log.warn('Leadership lost', { identity });
    else await this.#release();
  }

  /** Renews until `over`; gives up `renewDeadline` after the last success. */
  async #keep(lost: AbortController, over: AbortSignal): Promise<void> {
    const { clock, retryPeriod, renewDeadline } = this.#options;
    let renewedAt = clock.now();
    while (!over.aborted) {
      await sleep(clock, retryPeriod, over);
      if (over.aborted) return;
      const startedAt = clock.now();
      const attempt = new AbortController();
      const cancel = clock.after(renewedAt + renewDeadline - startedAt, () => attempt.abort());
      const isOurs = await this.#tryToHold(AbortSignal.any([over, attempt.signal]));
      cancel();
      if (isOurs) renewedAt = startedAt;
      const isTaken = !isOurs && this.#seen !== undefined && !this.#isMine(this.#seen);
      if (isTaken || clock.now() - renewedAt >= renewDeadline) return lost.abort();
    }
  }

  /** One try to take or renew the Lease. Any failure is a no. */
  async #tryToHold(signal: AbortSignal): Promise<boolean> {
    const { store } = this.#options;
    try {
      const current = await store.read(signal);
      if (isFailure(current)) return this.#failed(current.message);
      if (current !== 'absent' && !this.#mayTake(current)) return false;
      const written = await store.write(this.#claim(current), signal);
      if (isFailure(written)) return this.#failed(written.message);
      if (written === 'conflict') return false;
      this.#observe(written);
      this.#problem = undefined;
      return true;
    } catch {
      return false; // the signal fired
    }
  }

  #claim(before: LeaseRecord | 'absent'): LeaseRecord {
    const { clock, identity: holder, leaseDuration: duration } = this.#options;
    const renewedAt = clock.now();
    if (before === 'absent') {
      return { holder, duration, acquiredAt: renewedAt, renewedAt, transitions: 0 };
    }
    if (this.#isMine(before)) return { ...before, duration, renewedAt };
    const transitions = before.transitions + 1;
    return { ...before, holder, duration, acquiredAt: renewedAt, renewedAt, transitions };
  }

  #mayTake(record: LeaseRecord): boolean {
    this.#observe(record);
    if (record.holder === '' || this.#isMine(record)) return true;
    return this.#options.clock.now() >= this.#seenAt + record.duration;
  }

  #isMine = ({ holder }: LeaseRecord): boolean => holder === this.#options.identity;

  #observe(record: LeaseRecord): void {
    if (this.#seen?.resourceVersion === record.resourceVersion && this.#seen !== undefined) return;
    this.#seen = record;
    this.#seenAt = this.#options.clock.now();
  }

  /** So that a successor need not wait. Best effort: it is the end of us anyway. */
  async #release(): Promise<void> {
    const { store, clock } = this.#options;
    if (this.#seen === undefined) return;
    const record = { ...this.#seen, holder: '', duration: 1_000, renewedAt: clock.now() };
    const limit = new AbortController();
    const cancel = clock.after(this.#options.retryPeriod, () => limit.abort());
    await store.write(record, limit.signal).catch(() => 'conflict');
    cancel();
  }

  #failed(message: string): false {
    if (message !== this.#problem) this.#options.log.warn(message);
    this.#problem = message;
    return false;
  }
}
