import { type Ms, parseTime, seconds } from '../../../src/lib/time.ts';
import type { Change } from '../api-server.ts';
import { ownerNameIn } from '../instances.ts';
import {
  decoded,
  hasForeignAnnotations,
  keyOf,
  mergeAllowedTo,
  type StoredObject,
} from '../objects.ts';
import { START } from '../replica.ts';
import type { Scheduler } from '../scheduler.ts';
import { type Scene, specOf, statusOf, targetNameOf, tokensIn } from './rule.ts';

const ALLOWANCE: Ms = seconds(30);
/**
 * While a realm asks for patience, one of its requests in 10 s goes, from 30 s before an expiry on. A second is
 * for their arrival.
 */
const AHEAD_OF_EXPIRY: Ms = seconds(31);
const TURNS = 3;

export interface Calm {
  credentials(): readonly StoredObject[];
  /** Since when there is no fault and the credential with its Secret is unchanged; undefined: not now. */
  since(credential: StoredObject): Ms | undefined;
}

/**
 * No token expires if the provider and everything else has worked for longer than half of the remaining lifetime of the
 * token plus 30 s.
 */
export class Expiry {
  readonly #scene: Scene;
  readonly #scheduler: Scheduler;
  readonly #calm: Calm;
  readonly #watched = new Set<string>();

  constructor(scene: Scene, scheduler: Scheduler, calm: Calm) {
    this.#scene = scene;
    this.#scheduler = scheduler;
    this.#calm = calm;
  }

  changed({ kind, type, object }: Change): void {
    if (kind !== 'secrets' || type === 'DELETED') return;
    for (const token of Object.values(decoded(object.data)).flatMap(tokensIn)) {
      const issued = this.#scene.provider.issued.get(token);
      const id = `${keyOf(object.metadata)} ${token.slice(-12)}`;
      if (issued === undefined || this.#watched.has(id)) continue;
      this.#watched.add(id);
      this.#scheduler.after(issued.expiresAt - this.#scene.now, () =>
        this.#expired(keyOf(object.metadata), token),
      );
    }
  }

  #expired(key: string, token: string): void {
    const target = this.#scene.server.get('secrets', key);
    if (
      target === undefined ||
      !Object.values(decoded(target.data)).some((value) => value.includes(token))
    )
      return;
    const credential = this.#calm
      .credentials()
      .find(
        (each) =>
          `${each.metadata.namespace}/${targetNameOf(each)}` === key &&
          this.#isUsing(each, target, token),
      );
    const since = credential === undefined ? undefined : this.#calm.since(credential);
    // The dates in a target are of a wall clock: a clock that is set back delays a renewal by as much
    if (credential === undefined || since === undefined || !this.#scene.clocksAgree) return;
    if (this.#isForged(target, token) || this.#isLockedOut(credential)) return;
    if (this.#haveTurnsGone(token)) return;
    const calmFor = this.#scene.now - since;
    if (calmFor <= calmFor / 2 + ALLOWANCE) return;
    this.#scene.violated(
      'no token expires for want of a try',
      `${keyOf(credential.metadata)}, calm for ${calmFor / 1_000} s`,
    );
  }

  /** A proxy has refused the password in place of the provider: it is tried again as rarely as after a lock. */
  #isLockedOut(credential: StoredObject): boolean {
    const retryAt = parseTime(statusOf(credential)?.rejectedLogin?.retryAt) ?? 0;
    return retryAt > START + this.#scene.now;
  }

  /** A provider has asked for patience, and others of the realm, or a session that had ended, had the turns. */
  #haveTurnsGone(token: string): boolean {
    const { now, provider } = this.#scene;
    const requests = provider.lastRequests.get(provider.issued.get(token)?.realm ?? '') ?? [];
    const recent = requests.filter((at) => at > now - AHEAD_OF_EXPIRY);
    return now < provider.pausedUntil && recent.length >= TURNS;
  }

  /**
   * People wrote another expiry, or a renewal that comes after it, so that all dates count for nothing: a replica that
   * did not receive the token can't know the right ones.
   */
  #isForged({ metadata: { annotations = {} } }: StoredObject, token: string): boolean {
    const expiresAt = parseTime(annotations['convercus.io/expires-at']) ?? 0;
    const renewAt = parseTime(annotations['convercus.io/renew-at']) ?? Infinity;
    const trueExpiry = START + (this.#scene.provider.issued.get(token)?.expiresAt ?? 0);
    return Math.abs(expiresAt - trueExpiry) > ALLOWANCE || renewAt > trueExpiry + ALLOWANCE;
  }

  /** True if Ready with that target: neither suspended nor invalid. */
  #isUsing(credential: StoredObject, target: StoredObject, token: string): boolean {
    const spec = specOf(credential);
    const { name, uid } = credential.metadata;
    const { ownerReferences, labels = {} } = target.metadata;
    const isOurs =
      ownerReferences === undefined
        ? ownerNameIn(labels) === name
        : ownerReferences.some((owner) => owner.uid === uid);
    // Several credentials may name a Secret to merge into, each with keys of its own
    const values = decoded(target.data);
    const isUnderOurs = Object.keys(spec.target.data ?? {}).some((key) =>
      values[key]?.includes(token),
    );
    if (spec.suspend) return false;
    if (spec.target.creationPolicy === 'Owner') return isOurs;
    return isUnderOurs && mergeAllowedTo(target) === name && !hasForeignAnnotations(target);
  }
}
