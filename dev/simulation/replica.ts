import type { Clock } from '../../src/lib/clock.ts';
import type { EpochMs, Ms } from '../../src/lib/time.ts';
import type { Dice } from './dice.ts';
import type { Scheduler } from './scheduler.ts';

/** The wall clock time at the start of a simulation. */
export const START: EpochMs = Date.parse('2026-09-21T12:00:00Z');

type Cause = 'message' | 'timer';

interface Arrival {
  readonly cause: Cause;
  readonly run: () => void;
}

/**
 * One process of the operator. All its messages and timers go through here, so that it can be stopped (SIGSTOP),
 * continued or crashed at any time.
 */
export class Replica {
  readonly name: string;
  /** Replicas of one release share a Lease, and what status tells them. */
  readonly release: string;
  readonly dice: Dice;
  readonly #scheduler: Scheduler;
  #state: 'running' | 'frozen' | 'dead' = 'running';
  #backlog: Arrival[] = [];
  /** The wall clock minus virtual time. */
  #offset: Ms = 0;
  #crashIn = Infinity;
  onCrash: () => void = () => undefined;

  constructor(
    name: string,
    { scheduler, dice, release }: { scheduler: Scheduler; dice: Dice; release: string },
  ) {
    this.name = name;
    this.release = release;
    this.dice = dice;
    this.#scheduler = scheduler;
  }

  get isDead(): boolean {
    return this.#state === 'dead';
  }

  get isFrozen(): boolean {
    return this.#state === 'frozen';
  }

  readonly clock: Clock = {
    now: () => START + this.#scheduler.now + this.#offset,
    monotonic: () => this.#scheduler.now,
    after: (delay, callback) => this.after(delay, callback, 'timer'),
  };

  /** Runs in this process after `delay`, if it still exists. @returns how to cancel it */
  after(delay: Ms, run: () => void, cause: Cause = 'message'): () => void {
    let isCancelled = false;
    const cancel = this.#scheduler.after(delay, () =>
      this.#arrive(cause, () => {
        if (!isCancelled) run();
      }),
    );
    return () => {
      isCancelled = true;
      cancel();
    };
  }

  /** From now on it sends and receives nothing, and no timer fires. */
  crash(): void {
    if (this.isDead) return;
    this.#state = 'dead';
    this.#backlog = [];
    this.onCrash();
  }

  /** Crashes right before the n-th message from now arrives. */
  crashAfter(messages: number): void {
    this.#crashIn = messages;
  }

  freeze(): void {
    if (this.#state === 'running') this.#state = 'frozen';
  }

  /** Handles what arrived meanwhile: messages first, as in the poll phase of Node, or mixed with due timers. */
  thaw(): void {
    if (this.#state !== 'frozen') return;
    this.#state = 'running';
    const [backlog, isSharedOwnership] = [this.#backlog, this.dice.chance(0.5)];
    this.#backlog = [];
    const messages = backlog.filter(({ cause }) => cause === 'message');
    const timers = backlog.filter(({ cause }) => cause === 'timer');
    this.#handle(isSharedOwnership ? backlog : [...messages, ...timers]);
  }

  /** Sets the wall clock. */
  jump(by: Ms): void {
    this.#offset += by;
  }

  setClockRight(): void {
    this.#offset = 0;
  }

  /** Runs them one after the other, each in its own turn of the event loop. */
  #handle([first, ...rest]: readonly Arrival[]): void {
    if (first === undefined) return;
    this.#arrive(first.cause, first.run);
    this.#scheduler.after(0, () => this.#handle(rest));
  }

  #arrive(cause: Cause, run: () => void): void {
    if (this.#state === 'running' && cause === 'message') {
      this.#crashIn -= 1;
      if (this.#crashIn <= 0) this.crash();
    }
    if (this.#state === 'dead') return;
    if (this.#state === 'frozen') this.#backlog.push({ cause, run });
    else run();
  }
}
