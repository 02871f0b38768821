import { isDeepStrictEqual } from 'node:util';
import { RENEW_REQUEST_ANNOTATION } from '../../../src/credential/credential.ts';
import { type Ms, minutes, seconds } from '../../../src/lib/time.ts';
import type { Change } from '../api-server.ts';
import { decoded, hasForeignAnnotations, mergeAllowedTo, type StoredObject } from '../objects.ts';
import type { Handled, Presented } from '../provider.ts';
import type { Replica } from '../replica.ts';
import type { Leadership } from './leadership.ts';
import { type Scene, specOf, targetNameOf, tokensIn } from './rule.ts';
import { isByOperator } from './targets.ts';

/** A request with a password or refresh token of a user. */
interface Presentation {
  /** Its sender had stopped waiting when it arrived. */
  readonly isLate: boolean;
  readonly replica: Replica;
  readonly term: number;
  readonly at: Ms;
  seen: 'response' | 'unknown' | 'pending';
}

interface SessionRecord {
  readonly id: string;
  readonly user: string;
  /** Requests that opened or refreshed it. */
  readonly exchanges: Presentation[];
  /** A logout failed or was lost, people changed its Secret, or it came without a refresh token. */
  hasFailedLogout: boolean;
  /** The provider reported it. */
  isOver: boolean;
  /** When the operator deleted its Secret, or stored another session there. Undefined while it is stored, and before. */
  leftAt: Ms | undefined;
}

/** Milliseconds that a requested renewal may wait for the provider. */
const LONGEST_REQUEST: Ms = minutes(30);
/** Milliseconds from the write that replaces a session to the log-out, if nothing fails. */
const LONGEST_RECONCILE: Ms = seconds(30);
/** The first waiting time of the lock-out policy for passwords, less a minute. */
const FIRST_BACK_OFF: Ms = minutes(19);

/**
 * A refresh token is sent twice only after a crash or a lost response. A rejected password is sent once. Sessions that
 * no credential needs are logged out.
 */
export class Sessions {
  readonly #scene: Scene;
  readonly #leadership: Leadership;
  readonly #refreshTokens = new Map<string, Presentation>();
  readonly #rejected = new Map<string, Presentation>();
  readonly #rejectedUsers = new Set<string>();
  readonly #sessions = new Map<string, SessionRecord>();
  /** Keys of credentials by the id of the session whose Secret people deleted. */
  readonly #dropped = new Map<string, string>();
  /** By user: when people last requested a renewal, which may send a rejected password once more. */
  readonly #renewRequestedAt = new Map<string, Ms>();
  /** People moved a credential to the other release; while both serve it one may replace the session of the other. */
  hasMoved = false;
  #isRestored = false;
  /** Sessions that no credential needs, explained by a crash or a lost message. */
  lost = 0;

  constructor(scene: Scene, leadership: Leadership) {
    this.#scene = scene;
    this.#leadership = leadership;
  }

  /** @returns a function to call with the outcome for the sender */
  handled(
    replica: Replica,
    handled: Handled,
    isLate: boolean,
  ): (seen: 'response' | 'unknown') => void {
    const { presented, issued } = handled;
    const presentation: Presentation = {
      isLate,
      replica,
      term: this.#leadership.termOf(replica),
      at: this.#scene.now,
      seen: 'pending',
    };
    const { endpoint, fields } = presented;
    if (fields.get('grant_type') === 'refresh_token') this.#refreshed(presented, presentation);
    const isRejected = presented.isHonest && isWrongPassword(presented);
    if (isRejected) this.#passwordRejected(presented, presentation);
    if (issued?.sessionId !== undefined) {
      const known = this.#sessions.get(issued.sessionId);
      const user = `${issued.realm}/${issued.username}`;
      const record = known ?? {
        id: issued.sessionId,
        user,
        exchanges: [],
        hasFailedLogout: false,
        isOver: false,
        leftAt: undefined,
      };
      record.exchanges.push(presentation);
      if (!issued.isRefreshable) record.hasFailedLogout = true;
      this.#sessions.set(issued.sessionId, record);
    }
    return (seen) => {
      presentation.seen = presented.isHonest ? seen : 'unknown';
      const isLogout = endpoint === 'logout' || endpoint === 'revoke';
      // Where there is no `/logout`, `/revoke` follows
      const isTold = presented.status < 300 || (endpoint === 'logout' && presented.status === 404);
      const isDone = presented.isHonest && isTold && seen === 'response';
      if (isLogout && !isDone)
        this.logoutFailed(fields.get('refresh_token') ?? fields.get('token') ?? '');
    };
  }

  /** People requested a renewal, or edited a credential whose request may be open. */
  credentialChanged({ type, object, before }: Change): void {
    const request = object.metadata.annotations?.[RENEW_REQUEST_ANNOTATION];
    if (request === undefined || type === 'DELETED') return;
    const isSame =
      before?.metadata.annotations?.[RENEW_REQUEST_ANNOTATION] === request &&
      isDeepStrictEqual(before.spec, object.spec);
    const user = specOf(object).credentialsSecretRef.name.replace('source', 'user');
    if (!isSame) this.#renewRequestedAt.set(user, this.#scene.now);
  }

  /** The Secret of a session was written or deleted. What people do may have left it unknown to a later term. */
  stored({ type, object, before, by }: Change): void {
    if (object.type !== 'convercus.io/session') return;
    const [old, current] = [before, type === 'DELETED' ? undefined : object].map((secret) =>
      sessionIn(decoded(secret?.data)['refresh_token'] ?? ''),
    );
    if (old === current) return;
    const [left, kept] = [old, current].map((id) => this.#sessions.get(id ?? ''));
    if (left !== undefined && isByOperator({ by })) left.leftAt = this.#scene.now;
    if (kept !== undefined) kept.leftAt = undefined;
  }

  /** People deleted a Secret: the operator may continue with its session from memory. */
  droppedByPeople({ type, metadata, data }: StoredObject): void {
    if (type !== 'convercus.io/session') return;
    const { refresh_token: token = '', 'session.json': facts = '' } = decoded(data);
    const id = sessionIn(token);
    const record = this.#sessions.get(id);
    const credential = `${metadata.namespace}/${metadata.name.replace(/-session$/, '')}`;
    const uid = this.#scene.server.get('convercuscredentials', credential)?.metadata.uid ?? '';
    // The other release may have logged in, and a session Secret of an earlier credential of that name is not read
    const isKnown = this.#scene.releases === 1 && facts.includes(`"${uid}"`);
    if (record !== undefined && !isKnown) record.hasFailedLogout = true;
    this.#dropped.set(id, credential);
  }

  /** Without its client secret a session can't be logged out. */
  clientSecretGone(username: string): void {
    for (const record of this.#sessions.values()) {
      if (record.user.endsWith(`/${username}`)) record.hasFailedLogout = true;
    }
  }

  /** A replica without the session in memory may have taken over, and can't read it. */
  spoiltByPeople({ type, data }: StoredObject): void {
    if (type !== 'convercus.io/session') return;
    const record = this.#sessions.get(sessionIn(decoded(data)['refresh_token'] ?? ''));
    if (record !== undefined) record.hasFailedLogout = true;
  }

  /** True if the credential may still use it, because it has not logged in since. */
  #isCached(id: string): boolean {
    const key = this.#dropped.get(id) ?? '';
    const credential = this.#scene.server.get('convercuscredentials', key);
    const isWanted = credential !== undefined && specOf(credential).grantType === 'password';
    return isWanted && this.#scene.server.get('secrets', `${key}-session`) === undefined;
  }

  /** A session that was replaced lives on while people keep the new token out of a target with Merge. */
  #isTargetHeld(): boolean {
    return [...this.#scene.server.all('convercuscredentials')].some((credential) => {
      const { grantType, target } = specOf(credential);
      if (grantType !== 'password' || target.creationPolicy !== 'Merge') return false;
      const key = `${credential.metadata.namespace}/${targetNameOf(credential)}`;
      const found = this.#scene.server.get('secrets', key);
      if (found === undefined) return false;
      return hasForeignAnnotations(found) || mergeAllowedTo(found) !== credential.metadata.name;
    });
  }

  /**
   * A target holds a valid token of it, which may be good for nothing once it has ended: one of a credential that was
   * suspended, or in a namespace of a cluster credential that has not needed a token of the next session yet.
   */
  #isTokenHeld({ id }: SessionRecord): boolean {
    const { server, provider, now } = this.#scene;
    return [...server.all('secrets')]
      .flatMap(({ data }) => Object.values(decoded(data)).flatMap(tokensIn))
      .map((token) => provider.issued.get(token))
      .some((issued) => issued?.sessionId === id && issued.expiresAt > now);
  }

  /** A restore removes sessions that were stored after the backup, and brings back used refresh tokens. */
  restored(): void {
    this.#isRestored = true;
    this.#refreshTokens.clear();
  }

  /** How often the provider lost sessions: logins wait when the sessions of a user end too often. */
  losses = 0;

  /** True if a password of the user was rejected. */
  hasRejected(user: string): boolean {
    return this.#rejectedUsers.has(user);
  }

  userOf(sessionId: string): string | undefined {
    return this.#sessions.get(sessionId)?.user.split('/')[1];
  }

  /** False while a session is active that is not stored: its log-out may still be tried. */
  get areAllStored(): boolean {
    return this.#unstored().next().done === true;
  }

  /** At the end each active session is stored for a credential, or its loss is explained. */
  checkEnd(): void {
    if (this.#scene.now < this.#scene.provider.pausedUntil) return;
    for (const record of this.#unstored()) {
      const isHeld = this.#isTargetHeld() || this.#isTokenHeld(record);
      const isExplained = record.hasFailedLogout || isHeld || this.#isLost(record);
      if (this.#isRestored || this.hasMoved || isExplained) this.lost += 1;
      else
        this.#scene.violated(
          'sessions that no credential needs are logged out',
          `${record.user} ${record.id.slice(0, 6)}`,
        );
    }
  }

  /** With a crash, the end of a term or a lost message. */
  #isLost({ exchanges, leftAt }: SessionRecord): boolean {
    if (exchanges.some(({ seen }) => seen !== 'response')) return true;
    if (leftAt !== undefined) return this.#leadership.lastChange >= leftAt - LONGEST_RECONCILE;
    return exchanges.some(
      ({ replica, term }) => replica.isDead || this.#leadership.termOf(replica) !== term,
    );
  }

  *#unstored(): Generator<SessionRecord> {
    const stored = new Set(
      [...this.#scene.server.all('secrets')]
        .filter(({ type }) => type === 'convercus.io/session')
        .map(({ data }) => sessionIn(decoded(data)['refresh_token'] ?? '')),
    );
    for (const [id] of this.#scene.provider.liveSessions()) {
      if (stored.has(id) || this.#isCached(id)) continue;
      const record = this.#sessions.get(id);
      if (record !== undefined && !record.isOver) yield record;
    }
  }

  /** A refresh token is still valid if the request failed for another reason. */
  #refreshed({ fields, isHonest, status, error }: Presented, presentation: Presentation): void {
    const token = fields.get('refresh_token') ?? '';
    const first = this.#refreshTokens.get(token);
    const isSpent = isHonest && (status === 200 || error === 'invalid_grant');
    if (isSpent) this.#refreshTokens.set(token, presentation);
    // The operator sees the session as over, but a provider whose clock was set may not
    const record = this.#sessions.get(sessionIn(token));
    if (record !== undefined && isSpent && status !== 200) record.isOver = true;
    if (first === undefined || first.seen === 'unknown' || presentation.isLate) return;
    // Both releases may serve the credential while it moves from one to the other
    if (first.replica.release !== presentation.replica.release) return;
    if (this.#isExcused(first, presentation)) return;
    this.#scene.violated(
      'a refresh token is sent once',
      `${presentation.replica.name}, first at ${first.at} ms by ${first.replica.name}`,
    );
  }

  #passwordRejected({ host, realm, fields }: Presented, presentation: Presentation): void {
    const user = fields.get('username') ?? fields.get('userName') ?? '';
    const key = [presentation.replica.release, host, realm, user, fields.get('password')].join(' ');
    const first = this.#rejected.get(key);
    this.#rejected.set(key, presentation);
    this.#rejectedUsers.add(user);
    if (first === undefined || first.seen === 'unknown' || presentation.isLate) return;
    if (this.#isExcused(first, presentation)) return;
    // A rejection at a time that is now in the future does not count
    if (!this.#scene.clocksAgree) return;
    const requestedAt = this.#renewRequestedAt.get(user) ?? -Infinity;
    if (requestedAt >= first.at - LONGEST_REQUEST) return;
    if (presentation.at - first.at >= FIRST_BACK_OFF) return;
    this.#scene.violated(
      'a rejected password is presented once',
      `${user} by ${presentation.replica.name}, first at ${first.at} ms`,
    );
  }

  /**
   * The first sender is gone or its term is over, though it may be frozen and not know it, or a restore has put a Lease
   * back that the second took.
   */
  #isExcused({ replica, term }: Presentation, second: Presentation): boolean {
    if (!this.#leadership.leads(replica) || this.#leadership.termOf(replica) !== term) return true;
    return this.#isRestored && replica !== second.replica;
  }

  /** The request failed, or had no response. */
  logoutFailed(refreshToken: string): void {
    const record = this.#sessions.get(sessionIn(refreshToken));
    if (record !== undefined) record.hasFailedLogout = true;
  }
}

/** The claim `sid` of a refresh token of the provider. */
export function sessionIn(refreshToken: string): string {
  const payload = refreshToken.split('.')[1];
  if (payload === undefined) return '';
  const { sid = '' }: { sid?: string } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return sid;
}

function isWrongPassword({ endpoint, fields, status, error }: Presented): boolean {
  if (endpoint === 'login') return status === 401;
  return fields.get('grant_type') === 'password' && error === 'invalid_grant';
}
