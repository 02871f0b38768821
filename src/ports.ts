import type { ConvercusCredential } from './credential/api.ts';
import type { CredentialEvent } from './credential/events.ts';
import type { Failure, FailureKind } from './lib/failure.ts';
import type { LogoutRequest } from './oauth/logout-response.ts';
import type { RenewReason } from './credential/plan.ts';
import type { DesiredSecret, KnownSecret, SecretContents, SecretMeta } from './credential/secret.ts';
import type { EpochMs, Ms } from './lib/time.ts';
import type { Token, TokenRequest } from './oauth/token.ts';

/** What the operator needs from outside, as narrow as it can be said. Adapters and runtime implement it; main wires it. */

export interface Clock {
  /** By the wall clock, which may be set at any time: for dates. */
  now(): EpochMs;
  /** Never goes back and goes on while the process is stopped; counts from an arbitrary moment: for lengths of time. */
  monotonic(): Ms;
  /** Runs `callback` once after `delay` (clamped to what timers can hold); the answer cancels it. */
  after(delay: Ms, callback: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;

export type { CredentialEvent };

/** `namespace/name` of a ConvercusCredential. */
export type Key = string;

/** The cluster as the watches have shown it so far. No call here makes a request. */
export interface Lister {
  credential(key: Key): ConvercusCredential | undefined;
  secret(namespace: string, name: string): KnownSecret;
  /** Every credential of the namespace that names this Secret as its target. */
  credentialsWithTarget(namespace: string, targetName: string): readonly ConvercusCredential[];
  /** Every credential of the namespace that names this Secret, for whatever purpose. */
  referrers(namespace: string, secretName: string): readonly ConvercusCredential[];
  /** A Secret labelled as the session of that credential exists, whether the credential does or not. */
  hasSession(key: Key): boolean;
}

/** Requests to the API server. What they learn of a Secret is known to the ClusterView at once. */
export interface ClusterClient {
  readSecretMeta(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretMeta | 'absent' | Failure>;
  readSecret(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretContents | 'absent' | Failure>;
  /** Makes the Secret what it shall be; what others have set besides stays. */
  applySecret(desired: DesiredSecret, signal: AbortSignal): Promise<SecretMeta | Failure>;
  /** Only the Secret with that uid. Undefined when it is gone. */
  deleteSecret(secret: SecretIdentity, signal: AbortSignal): Promise<Failure | undefined>;
  /** Asks the API server, where the watch may show only a part of all credentials. */
  readCredential(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConvercusCredential | 'absent' | Failure>;
  /** Replaces the whole status. `gone` when the credential does not exist any more. */
  applyStatus(
    credential: ConvercusCredential,
    status: NonNullable<ConvercusCredential['status']>,
    signal: AbortSignal,
  ): Promise<'written' | 'gone' | Failure>;
  /** Best effort, in the background; a lost event is logged and costs nothing else. */
  recordEvent(about: EventSubject, event: CredentialEvent): void;
}

export interface SecretIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** A credential that may not exist any more. */
export interface EventSubject {
  readonly metadata: Pick<ConvercusCredential['metadata'], 'namespace' | 'name' | 'uid'>;
}

/** What the runtime gives to a pass. */
export interface ReconcileContext {
  /** Fires when the pass must not write any more: the Lease is lost or the process ends. */
  readonly signal: AbortSignal;
  /** Waits without holding a worker, so that a slow host delays nobody else. */
  readonly parked: <T>(wait: () => Promise<T>) => Promise<T>;
}

export interface Telemetry {
  renewal(reason: RenewReason, outcome: 'success' | FailureKind): void;
}

/** One token request to one server, with no memory; at most a few quick tries on transport faults. */
export type TokenSource = (request: TokenRequest, signal: AbortSignal) => Promise<Token | Failure>;

/** Ends a session at the provider. Undefined when it is over. */
export type LogOut = (request: LogoutRequest, signal: AbortSignal) => Promise<Failure | undefined>;

/** The careful way to a host: at most so many requests a second and at once, most urgent first. */
export interface RequestLimiter {
  /** Runs `task` when the host has room; each task has a turn of its own. Rejects with the signal's reason when that fires first. */
  run<T>(host: string, ticket: Ticket, task: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** The turn has become more urgent: it moves forward if it still waits. */
  raisePriority(host: string, ticket: Ticket): void;
  /**
   * Nobody is sent to the host before `until`, or for some minutes if that is later, and after that more slowly. But
   * shortly before a token would expire meanwhile one request goes all the same.
   */
  pause(host: string, until: EpochMs): void;
  /** How a request went; tell it from within its task. A host that is unreachable is left alone for a while. */
  report(host: string, outcome: 'answered' | 'unreachable'): void;
}

export interface Ticket {
  /** Smaller goes first: the moment at which somebody would be left without a token. */
  deadline: EpochMs;
  /** When the token in place expires; absent when there is none. */
  expiresAt?: EpochMs | undefined;
  /** A password is presented, which costs the server much more: such turns have a budget of their own besides. */
  readonly login?: boolean;
}

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Chosen fields only, never a whole foreign object or error. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** One kind of resource, listed in pages and watched. Everything is projected to what we keep before it gets here. */
export interface ListWatch<T> {
  /** One page; `continue` names the next. Rejects with a WatchProblem. */
  list(continueToken: string | undefined, signal: AbortSignal): Promise<Page<T>>;
  /** The version that the server has arrived at, at the price of listing one object. Rejects with a WatchProblem. */
  latest(signal: AbortSignal): Promise<string>;
  /** Ends cleanly when the server ends it (time-out). Rejects with a WatchProblem. */
  watch(resourceVersion: string, timeout: Ms, signal: AbortSignal): AsyncIterable<WatchEvent<T>>;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
  readonly continue?: string;
}

export type WatchEvent<T> =
  | { readonly type: 'apply' | 'delete'; readonly item: T; readonly resourceVersion: string }
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

/** Why a list or watch ended: the server forgot our place (`gone`, HTTP 410: list again) or anything else (back off). */
export class WatchError extends Error {
  readonly reason: 'gone' | Failure;

  constructor(reason: 'gone' | Failure) {
    super(reason === 'gone' ? 'the resource version is too old' : reason.message);
    this.reason = reason;
  }
}

/** Where an informer puts what it sees. Between `listStarted` and `listEnded` everything that exists is `present` once. */
export interface EventHandler<T> {
  /**
   * @param version what the list shows was so then
   * @param isRestored etcd was restored from a backup: versions begin again, and nothing that was shown before counts
   */
  init(version: string, isRestored: boolean): void;
  apply(item: T): void;
  delete(item: T): void;
  initDone(): void;
}

/** coordination.k8s.io/v1 Lease, in our units. */
export interface LeaseRecord {
  /** Empty when nobody holds it. */
  readonly holder: string;
  readonly duration: Ms;
  readonly acquiredAt: EpochMs;
  readonly renewedAt: EpochMs;
  readonly transitions: number;
  /** Absent: the Lease is to be created. Present: only if it is still this version. */
  readonly resourceVersion?: string;
}

export interface LeaseStore {
  read(signal: AbortSignal): Promise<LeaseRecord | 'absent' | Failure>;
  write(record: LeaseRecord, signal: AbortSignal): Promise<LeaseRecord | 'conflict' | Failure>;
  /** What it is, and what it becomes, until the server ends the watch. May reject. */
  watch(signal: AbortSignal): AsyncIterable<LeaseRecord>;
}
