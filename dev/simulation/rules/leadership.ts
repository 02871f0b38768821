import type { ApiRequest } from '../../../src/kubernetes/rest-client.ts';
import { textAt } from '../../../src/lib/json.ts';
import { type Ms, seconds } from '../../../src/lib/time.ts';
import type { Outcome } from '../api-network.ts';
import { targetOf, valuesIn } from '../api-server.ts';
import type { Replica } from '../replica.ts';
import type { Scene } from './rule.ts';

/** The longest time-out of a request. */
const IN_FLIGHT = seconds(30);

interface Term {
  number: number;
  /** On the monotonic clock: `renewDeadline` after the last successful renewal was sent. */
  endsAt: Ms;
}

/** No request is sent after the end of a leader's term. Each write names the version or uid of its object. */
export class Leadership {
  readonly #scene: Scene;
  readonly #renewDeadline: Ms;
  readonly #terms = new Map<Replica, Term>();
  #severalUntil: Ms = -1;
  /** When a term last began, or ended as its replica knows. A crash is followed by another term. */
  lastChange: Ms = 0;

  constructor(scene: Scene, renewDeadline: Ms) {
    this.#scene = scene;
    this.#renewDeadline = renewDeadline;
  }

  /** Number of terms of that replica. Each term starts with an empty memory. */
  termOf(replica: Replica): number {
    return this.#terms.get(replica)?.number ?? 0;
  }

  leads(replica: Replica): boolean {
    return (this.#terms.get(replica)?.endsAt ?? -1) > this.#scene.now && !replica.isDead;
  }

  /**
   * After a restore of etcd to before the Lease two replicas of one release lead for the rest of a term, and what they
   * have sent by then arrives later.
   */
  get severalLead(): boolean {
    return this.#scene.now < this.#severalUntil;
  }

  begins(replica: Replica): void {
    this.#changed(replica);
  }

  ends(replica: Replica): void {
    this.#changed(replica);
  }

  #changed(replica: Replica): void {
    this.#term(replica).number += 1;
    this.lastChange = this.#scene.now;
  }

  apiRequest(replica: Replica, request: ApiRequest): (outcome: Outcome) => void {
    const target = targetOf(request.path);
    if (target.kind === 'leases') return this.#leaseRequest(replica, request);
    const isWatched = request.method === 'GET' && target.name === undefined;
    if (!isWatched) this.#checkTerm(replica, `${request.method} ${request.path}`);
    if (request.method !== 'GET') this.#checkPrecondition(replica, request);
    return () => undefined;
  }

  tokenRequest(replica: Replica, url: string): void {
    this.#checkTerm(replica, `POST ${new URL(url).pathname}`);
  }

  #leaseRequest(replica: Replica, request: ApiRequest): (outcome: Outcome) => void {
    const sentAt = this.#scene.now;
    if (request.method === 'GET') return () => undefined;
    if (textAt(request.body, 'spec', 'holderIdentity') === '') {
      this.#term(replica).endsAt = sentAt - 1;
      return () => undefined;
    }
    return ({ isWritten, seen }) => {
      if (!isWritten || seen === 'unknown') return;
      const term = this.#term(replica);
      term.endsAt = Math.max(term.endsAt, sentAt + this.#renewDeadline);
      const others = [...this.#terms].filter(([other]) => other !== replica && this.leads(other));
      const ends = others.map(([, { endsAt }]) => endsAt + IN_FLIGHT);
      this.#severalUntil = Math.max(this.#severalUntil, ...ends);
    };
  }

  #checkTerm(replica: Replica, what: string): void {
    const { endsAt } = this.#term(replica);
    if (this.#scene.now <= endsAt) return;
    this.#scene.violated(
      'no request leaves after the end of a term',
      `${replica.name}: ${what}, ${this.#scene.now - endsAt} ms after it`,
    );
  }

  #checkPrecondition(replica: Replica, { method, path, body }: ApiRequest): void {
    const { kind } = targetOf(path);
    if (kind === 'events' || method === 'POST') return;
    // An apply without uid may create an object; the rule for targets checks that it does
    const isApply = method === 'PATCH' && kind === 'secrets';
    const place = method === 'DELETE' ? 'preconditions' : 'metadata';
    const isBound = ['uid', 'resourceVersion'].some((name) => textAt(body, place, name));
    if (isApply || isBound || valuesIn(body).has('test /metadata/uid')) return;
    this.#scene.violated('every write says what it is for', `${replica.name}: ${method} ${path}`);
  }

  #term(replica: Replica): Term {
    const known = this.#terms.get(replica);
    if (known !== undefined) return known;
    const term = { number: 0, endsAt: -1 };
    this.#terms.set(replica, term);
    return term;
  }
}
