import type { EpochMs } from '../lib/time.ts';

/** The careful way to a host: at most so many requests a second and at once, the most urgent first. */
export interface RequestLimiter {
  /** Runs `task` when the host has room; each task has a ticket of its own. Rejects with the signal's reason when that fires first. */
  run<T>(host: string, ticket: Ticket, task: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** The ticket has become more urgent: it moves forward if it still waits. */
  raisePriority(host: string, ticket: Ticket): void;
  /**
   * No request goes to the host before `until`, or for some minutes if that is later, and after that more slowly. But
   * shortly before a token would expire meanwhile one request goes all the same.
   */
  pause(host: string, until: EpochMs): void;
  /** How a request went; tell it from within its task. A host that is unreachable is left alone for a while. */
  report(host: string, outcome: 'answered' | 'unreachable'): void;
}

export interface Ticket {
  /** Smaller goes first: the moment at which a credential would be left without a token. */
  deadline: EpochMs;
  /** When the token in place expires; absent when there is none. */
  expiresAt?: EpochMs | undefined;
  /** A password is presented, which costs the server much more: logins have a rate of their own besides. */
  readonly login?: boolean;
}
