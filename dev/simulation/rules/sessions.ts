import { type Ms, minutes } from '../../../src/lib/time.ts';
import { decoded, type StoredObject } from '../objects.ts';
import type { Handled, Presented } from '../provider.ts';
import type { Replica } from '../replica.ts';
import type { Leadership } from './leadership.ts';
import { type Scene, specOf } from './rule.ts';

/** One request that presented something of a user. */
interface Presentation {
  /** Its sender waited no longer when it arrived. */
  readonly isLate: boolean;
  readonly replica: Replica;
  readonly term: number;
  readonly at: Ms;
  seen: 'response' | 'unknown' | 'pending';
}

interface SessionRecord {
  readonly id: string;
  readonly user: string;
  /** Exchanges that brought or renewed it. */
  readonly exchanges: Presentation[];
  /** A log-out of it has been refused or lost, or people have spoilt its Secret. */
  hasFailedLogout: boolean;
  /** The provider has said so. */
  isOver: boolean;
}

/** A request to renew may wait so long until the provider answers. */
const LONGEST_REQUEST: Ms = minutes(30);
/** The first step of the lock-out policy of passwords, less a minute. */
const FIRST_BACK_OFF: Ms = minutes(19);

/**
 * A refresh token is sent twice only after a crash or a lost response; a rejected password is presented once; sessions
 * that no credential needs are logged out.
 */
export class Sessions {
  readonly #scene: Scene;
  readonly #leadership: Leadership;
  readonly #refreshTokens = new Map<string, Presentation>();
  readonly #rejected = new Map<string, Presentation>();
  readonly #sessions = new Map<string, SessionRecord>();
  /** By the id of the session whose Secret people have deleted: the key of its credential. */
  readonly #dropped = new Map<string, string>();
  /** When people last asked for a renewal, which may present a rejected password once more. */
  renewRequestedAt: Ms = -Infinity;
  #isRestored = false;
  /** Sessions that no credential needs, explained by a crash or a lost message. */
  lost = 0;

  constructor(scene: Scene, leadership: Leadership) {
    this.#scene = scene;
    this.#leadership = leadership;
  }

  /** The result is told what the sender saw. */
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
      };
      record.exchanges.push(presentation);
      this.#sessions.set(issued.sessionId, record);
    }
    return (seen) => {
      presentation.seen = presented.isHonest ? seen : 'unknown';
      const isLogout = endpoint === 'logout' || endpoint === 'revoke';
      const isDone = presented.isHonest && presented.status < 300 && seen === 'response';
      if (isLogout && !isDone)
        this.logoutFailed(fields.get('refresh_token') ?? fields.get('token') ?? '');
    };
  }

  /** A Secret was deleted by people: the operator may go on with what it remembers. */
  droppedByPeople({ type, metadata, data }: StoredObject): void {
    if (type !== 'convercus.io/session') return;
    const { refresh_token: token = '', 'session.json': facts = '' } = decoded(data);
    const id = sessionIn(token);
    const record = this.#sessions.get(id);
    const credential = `${metadata.namespace}/${metadata.name.replace(/-session$/, '')}`;
    const uid = this.#scene.server.get('convercuscredentials', credential)?.metadata.uid ?? '';
    // Of two releases the other one may have logged in; and what was left by one of that name is not read before a login
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

  /** Perhaps a replica that never knew the session takes over, and can't read it. */
  spoiltByPeople({ type, data }: StoredObject): void {
    if (type !== 'convercus.io/session') return;
    const record = this.#sessions.get(sessionIn(decoded(data)['refresh_token'] ?? ''));
    if (record !== undefined) record.hasFailedLogout = true;
  }

  /** The credential may still go on with it: it has not logged in again since. */
  #isCached(id: string): boolean {
    const key = this.#dropped.get(id) ?? '';
    const credential = this.#scene.server.get('convercuscredentials', key);
    const isWanted = credential !== undefined && specOf(credential).grantType === 'password';
    return isWanted && this.#scene.server.get('secrets', `${key}-session`) === undefined;
  }

  /** Sessions that were stored after the backup are forgotten, and spent refresh tokens come back. */
  restored(): void {
    this.#isRestored = true;
    this.#refreshTokens.clear();
  }

  /** How often the provider has lost sessions: a user whose sessions end too often is held back. */
  losses = 0;

  /** Some password has been rejected. */
  get hasRejected(): boolean {
    return this.#rejected.size > 0;
  }

  userOf(sessionId: string): string | undefined {
    return this.#sessions.get(sessionId)?.user.split('/')[1];
  }

  /** At the end: every session that lives is stored for a credential, or its loss is explained. */
  checkEnd(isExcused: (record: { exchanges: readonly Presentation[] }) => boolean): void {
    if (this.#scene.now < this.#scene.provider.pausedUntil) return;
    const stored = new Set(
      [...this.#scene.server.all('secrets')]
        .filter(({ type }) => type === 'convercus.io/session')
        .map(({ data }) => sessionIn(decoded(data)['refresh_token'] ?? '')),
    );
    for (const [id] of this.#scene.provider.liveSessions()) {
      if (stored.has(id) || this.#isCached(id)) continue;
      const record = this.#sessions.get(id);
      if (record === undefined || record.isOver) continue;
      if (this.#isRestored || record.hasFailedLogout || isExcused(record)) this.lost += 1;
      else
        this.#scene.violated(
          'sessions that no credential needs are logged out',
          `${record.user} ${id.slice(0, 6)}`,
        );
    }
  }

  /** One that was refused for another reason than itself is still good. */
  #refreshed({ fields, isHonest, status, error }: Presented, presentation: Presentation): void {
    const token = fields.get('refresh_token') ?? '';
    const first = this.#refreshTokens.get(token);
    const isSpent = isHonest && (status === 200 || error === 'invalid_grant');
    if (isSpent) this.#refreshTokens.set(token, presentation);
    // To its holder the session is over, though a provider whose clock was moved may not see it so
    const record = this.#sessions.get(sessionIn(token));
    if (record !== undefined && isSpent && status !== 200) record.isOver = true;
    if (first === undefined || first.seen === 'unknown' || presentation.isLate) return;
    // Of two releases both may take the credential for theirs while it moves
    if (first.replica.release !== presentation.replica.release) return;
    if (first.replica.isDead || this.#leadership.termOf(first.replica) !== first.term) return;
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
    if (first === undefined || first.seen === 'unknown' || presentation.isLate) return;
    if (first.replica.isDead || this.#leadership.termOf(first.replica) !== first.term) return;
    // What was refused at a moment that is now in the future does not count
    if (!this.#scene.clocksAgree) return;
    if (
      this.renewRequestedAt >= first.at - LONGEST_REQUEST ||
      presentation.at - first.at >= FIRST_BACK_OFF
    )
      return;
    this.#scene.violated(
      'a rejected password is presented once',
      `${user} by ${presentation.replica.name}, first at ${first.at} ms`,
    );
  }

  /** It was refused, or never answered. */
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
