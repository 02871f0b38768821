import type { ConvercusCredential } from '../domain/api.ts';
import { sessionNameOf } from '../domain/credential.ts';
import { type Failure, isFailure, retryAt, TOKEN_FAILURES } from '../domain/failure.ts';
import { presentedBy } from '../domain/login-gate.ts';
import type { KnownSecret } from '../domain/secret.ts';
import {
  isEnd,
  isLoginPlanned,
  isRefreshable,
  isSessionOf,
  refreshRequest,
  type Session,
  sessionAfterRefresh,
  sessionFromLogin,
} from '../domain/session.ts';
import { isSessionSecret } from '../domain/session-secret.ts';
import { type Action, minutes } from '../domain/time.ts';
import type { Token, TokenRequest } from '../domain/token.ts';
import type { Clock, Cluster, Log, PassContext, Random } from '../ports.ts';
import type { Subject } from './gather.ts';
import type { Memory } from './memory.ts';
import { Recent } from './recent.ts';
import {
  type Asking,
  contentionOf,
  currentSession,
  forgetSession,
  placeOf,
  type SessionPlace,
  type SessionWish,
  sinceStored,
  storeSession,
} from './session-store.ts';
import { satisfies } from './shared-tokens.ts';
import type { TokenDesk } from './token-desk.ts';
import { isRefusal, patiently, type Refusal } from './wish.ts';

/** Tokens kept, so that a target can be written again without a refresh. */
const TOKENS = 2_000;
/** How often to look for an answer that no pass waits for. */
const WHILE_UNDER_WAY = minutes(1);

interface Parts {
  readonly desk: TokenDesk;
  readonly cluster: Cluster;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A request of a session that is on its way, and what its answer will mean. */
export interface SessionStep {
  readonly identity: string;
  readonly answer: Promise<Token | Refusal>;
  readonly sessionWith: (token: Token) => Session | undefined;
  /** Absent for a login. */
  readonly refreshed?: Session;
  /** To be logged out once the token of this login is in place. */
  readonly retires?: Session | undefined;
  /** The session that a planned login replaces, and that goes on when the login is refused. */
  readonly planned?: Session | undefined;
}

/** Undefined while there is none. */
const answerOf = ({ answer }: SessionStep): Promise<Token | Refusal | undefined> =>
  Promise.race([answer, Promise.resolve(undefined)]);

/** It is logged out once the new token is in place. */
function retire(memory: Memory, session: Session): void {
  memory.retired = [...(memory.retired ?? []), session];
}

/** The session before a login. */
type Before = Pick<SessionStep, 'retires' | 'planned'> & { readonly ended?: Session };

/**
 * Tokens of the grant `password`: one login, then refreshes. A refresh token may be sent once, so the next one is
 * stored before its access token is handed out, and one that was refused is never sent again.
 */
export class Sessions {
  readonly #parts: Parts;
  readonly #tokens = new Recent<Token>(TOKENS);

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * The first write of a pass: a session that has come after its pass, or could not be stored. Its credential may be
   * suspended or faulty by now, and will need it later.
   */
  async settle(
    { metadata }: ConvercusCredential,
    memory: Memory,
    known: KnownSecret,
    signal: AbortSignal,
  ): Promise<Refusal | undefined> {
    const { cluster } = this.#parts;
    const { namespace, name } = metadata;
    const hasCome = await this.#takeAnswer(memory);
    if (!hasCome && memory.unstored === undefined) return undefined;
    const existing =
      known === 'unknown'
        ? await cluster.readSecretMeta(namespace, sessionNameOf(name), signal)
        : known;
    if (isFailure(existing)) return this.#refusal(existing, memory);
    if (existing !== 'absent' && !isSessionSecret(existing, name)) return undefined;
    const failure = await this.#store({ metadata, memory, existing }, signal);
    return failure && this.#refusal(failure, memory);
  }

  /** Whether a token has come for the request that is under way. */
  async #takeAnswer(memory: Memory): Promise<boolean> {
    const step = memory.underWay;
    const answer = step && (await answerOf(step));
    if (step === undefined || answer === undefined || isRefusal(answer)) return false;
    this.#keep(memory, step, answer);
    return true;
  }

  /** When to look again at a request whose answer the pass has not waited for. */
  async unclaimed(memory: Memory): Promise<Action> {
    const step = memory.underWay;
    if (step === undefined) return 'await-change';
    const answer = await answerOf(step);
    const now = this.#parts.clock.now();
    if (answer === undefined) return { lookAgainAt: now + WHILE_UNDER_WAY };
    if (!isRefusal(answer)) return { lookAgainAt: now };
    memory.underWay = undefined; // the desk remembers it for as long as it stands
    return 'await-change';
  }

  /** @throws the signal's reason when the pass is aborted */
  async obtain(
    subject: Subject,
    wish: SessionWish,
    context: PassContext,
  ): Promise<Token | Refusal> {
    const asking = { subject, wish, context };
    const { underWay, tokenOf } = subject.memory;
    const identity = this.#identityOf(asking);
    if (underWay !== undefined) {
      const answer = await this.#carryOut(asking, underWay);
      if (underWay.identity === identity || isRefusal(answer)) return answer;
      return this.#obtainAnew(sinceStored(asking));
    }
    const known = tokenOf === identity ? this.#tokens.get(identity) : undefined;
    if (known !== undefined && satisfies(known, wish, this.#parts.clock.now())) {
      return known;
    }
    return this.#obtainAnew(asking);
  }

  async #obtainAnew(asking: Asking): Promise<Token | Refusal> {
    const session = await currentSession(this.#parts.cluster, asking);
    if (isFailure(session)) return this.#refusal(session, asking.subject.memory);
    const { subject, wish } = asking;
    const now = this.#parts.clock.now();
    const isOurs = session !== undefined && isSessionOf(session, subject.credential, wish.request);
    if (!isOurs) {
      // Its Secret may be gone or unreadable, which does not end it
      return this.#login(asking, { retires: session ?? subject.memory.session?.session });
    }
    // Logged out as well: it has expired by our clock alone
    if (!isRefreshable(session, now))
      return this.#login(asking, { ended: session, retires: session });
    if (!isLoginPlanned(session, now)) return this.#refresh(asking, session);
    return this.#login(asking, { ended: session, retires: session, planned: session });
  }

  #refresh(asking: Asking, session: Session): Promise<Token | Refusal> {
    return this.#carryOut(asking, {
      identity: this.#identityOf(asking),
      answer: this.#ask(asking, refreshRequest(session, asking.wish.request)),
      sessionWith: (token) => sessionAfterRefresh(session, token),
      refreshed: session,
    });
  }

  async #login(asking: Asking, { ended, retires, planned }: Before): Promise<Token | Refusal> {
    const { subject, wish } = asking;
    const hasWorked = wish.past.hasWorked || ended?.loggedInWith === wish.sourceVersion;
    const standing = this.#parts.desk.standing(wish);
    if (standing !== undefined) return this.#refusedLogin(asking, standing, planned);
    const { credential } = subject;
    return this.#carryOut(asking, {
      identity: this.#identityOf(asking),
      answer: this.#ask({ ...asking, wish: { ...wish, past: { ...wish.past, hasWorked } } }),
      sessionWith: (token) =>
        sessionFromLogin(credential, wish.request, { token, sourceVersion: wish.sourceVersion }),
      retires,
      planned,
    });
  }

  #ask({ wish }: Asking, request: TokenRequest = wish.request): Promise<Token | Refusal> {
    return this.#parts.desk.ask({ ...wish, request });
  }

  /** Waits for the answer and keeps what it brings. Whoever loses patience leaves the request to the next pass. */
  async #carryOut(asking: Asking, step: SessionStep): Promise<Token | Refusal> {
    const { subject, wish, context } = asking;
    const { memory } = subject;
    const { clock } = this.#parts;
    memory.underWay = undefined;
    const answer = await context.parked(() => patiently(step.answer, wish, clock, context.signal));
    if (isRefusal(answer)) return this.#refused(asking, step, answer);
    this.#keep(memory, step, answer);
    return this.#storedFirst(asking, answer);
  }

  /** What an answer brings. */
  #keep(memory: Memory, step: SessionStep, token: Token): void {
    this.#tokens.set(step.identity, token);
    if (step.refreshed === undefined) memory.rejected = undefined;
    memory.underWay = undefined;
    memory.tokenOf = step.identity;
    memory.unstored = step.sessionWith(token);
    if (step.retires !== undefined) retire(memory, step.retires);
  }

  /** A login that brought no refresh token leaves no session to store. */
  async #store(place: SessionPlace, signal: AbortSignal): Promise<Failure | undefined> {
    const { cluster } = this.#parts;
    if (place.memory.unstored !== undefined) return storeSession(cluster, place, signal);
    await forgetSession(cluster, place, signal);
    return undefined;
  }

  /** What was presented may have changed while the request waited: then its refusal says nothing about now. */
  async #refused(asking: Asking, step: SessionStep, refusal: Refusal): Promise<Token | Refusal> {
    const { failure } = refusal;
    const ended = step.refreshed;
    if (failure.kind === 'Throttled') {
      asking.subject.memory.underWay = step;
      return refusal;
    }
    if (ended !== undefined && isEnd(failure)) return this.#loginAgain(asking, ended, refusal);
    if (step.identity !== this.#identityOf(asking)) return this.#obtainAnew(asking);
    return ended === undefined ? this.#refusedLogin(asking, refusal, step.planned) : refusal;
  }

  async #refusedLogin(
    asking: Asking,
    refusal: Refusal,
    planned: Session | undefined,
  ): Promise<Token | Refusal> {
    const { memory, credential } = asking.subject;
    const { kind } = refusal.failure;
    const presented = presentedBy(credential, asking.wish.sourceVersion);
    memory.rejected = kind === 'CredentialsRejected' ? { presented, refusal } : undefined;
    const goesOn = planned !== undefined && TOKEN_FAILURES.has(kind);
    return goesOn ? this.#refresh(asking, planned) : refusal;
  }

  /** The session is over: its refresh token must not outlive it, not even a crash. */
  async #loginAgain(
    asking: Asking,
    ended: Session,
    { failure, isRemembered = false }: Refusal,
  ): Promise<Token | Refusal> {
    const { clock, log } = this.#parts;
    const { memory, credential } = asking.subject;
    const { namespace, name } = credential;
    memory.session = undefined;
    memory.unstored = undefined;
    if (!isRemembered) log.warn(failure.message, { namespace, name, reason: failure.kind });
    const contention = isRemembered ? undefined : contentionOf(memory, failure, clock.now());
    // A session lives on whose refresh token was taken for a used one; a log-out still ends it
    if (failure.kind === 'RefreshTokenReused' && !isRemembered) retire(memory, ended);
    let isReplaced = false;
    try {
      const answer =
        contention === undefined
          ? await this.#login(asking, { ended })
          : this.#refusal(contention, memory);
      isReplaced = !isRefusal(answer);
      return answer;
    } finally {
      // A stop ends the login while the pass may still write
      const mayWrite = !asking.context.signal.aborted;
      if (!isReplaced && mayWrite) {
        await forgetSession(this.#parts.cluster, placeOf(asking), asking.context.signal);
      }
    }
  }

  /** Until the session is stored the token is kept back, and the next pass tries again. */
  async #storedFirst(asking: Asking, token: Token): Promise<Token | Refusal> {
    const failure = await this.#store(placeOf(asking), asking.context.signal);
    return failure === undefined ? token : this.#refusal(failure, asking.subject.memory);
  }

  #refusal(failure: Failure, memory: Memory): Refusal {
    const { clock, random } = this.#parts;
    const now = clock.now();
    return { failure, retryAt: retryAt(failure, memory.failedRequests + 1, now, random()) };
  }

  #identityOf({ subject, wish }: Asking): string {
    return this.#parts.desk.identityOf(wish.request, subject.credential.uid);
  }
}
