import { PriorityMap } from '../lib/priority-map.ts';
import type { EpochMs } from '../lib/time.ts';

/** What decides when a request goes. */
export interface Ticket {
  /** The realm that the request goes to. Its name is the token URL, because environments may have realms of one name. */
  readonly realm: string;
  /** In whose turns it may go: those that wait for it. Without any, as for a log-out, it goes behind all others. */
  readonly namespaces: Set<string>;
  /** Smaller goes first: the moment at which a credential would be left without a token. */
  deadline: EpochMs;
  /** When the current token expires; absent when there is none. */
  expiresAt?: EpochMs | undefined;
  /** A password is presented, which costs the server more (it hashes): logins have a rate of their own as well. */
  readonly login?: boolean;
}

/** A request is as urgent as the most urgent of those who wait for it. A token that has expired makes none urgent. */
export function raiseUrgency(
  ticket: Ticket,
  { deadline, expiresAt }: Pick<Ticket, 'deadline' | 'expiresAt'>,
  now: EpochMs,
): void {
  const ahead = [ticket.expiresAt ?? 0, expiresAt ?? 0].filter((at) => at > now);
  ticket.deadline = Math.min(ticket.deadline, deadline);
  ticket.expiresAt = ahead.length === 0 ? undefined : Math.min(...ahead);
}

/** What waits in a queue. */
export interface Queued {
  readonly ticket: Ticket;
  /** Of its arrival. */
  readonly order: number;
}

/** The smallest deadline goes first, equal ones in the order of arrival; logins may have to let others pass. */
export class DeadlineQueue<T extends Queued> {
  readonly #logins = new PriorityMap<T>();
  readonly #others = new PriorityMap<T>();

  get size(): number {
    return this.#logins.size + this.#others.size;
  }

  /** Call it again after the deadline has changed. */
  set(item: T): void {
    this.#of(item).set(item, item.ticket.deadline);
  }

  has(item: T): boolean {
    return this.#of(item).has(item);
  }

  delete(item: T): boolean {
    return this.#of(item).delete(item);
  }

  /** The first login or the first of the others, of those that may go. It stays. */
  first(mayGo: (item: T) => boolean): T | undefined {
    const login = this.#logins.first()?.key;
    const other = this.#others.first()?.key;
    return earlier(
      login !== undefined && mayGo(login) ? login : undefined,
      other !== undefined && mayGo(other) ? other : undefined,
    );
  }

  #of({ ticket: { login = false } }: T): PriorityMap<T> {
    return login ? this.#logins : this.#others;
  }
}

function earlier<T extends Queued>(one: T | undefined, other: T | undefined): T | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const ahead = one.ticket.deadline - other.ticket.deadline || one.order - other.order;
  return ahead < 0 ? one : other;
}
