import type { ConvercusCredential } from '../credential/api.ts';
import type { Credential } from '../credential/credential.ts';
import type { CredentialsValues } from '../credential/credentials-secret.ts';
import type { CredentialResource } from '../credential/instance.ts';
import type { SecretMeta } from '../credential/secret.ts';
import type { Session } from '../credential/session.ts';
import type { Key } from '../lib/key.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import type { TokenFailure } from '../tokens/token-demand.ts';

/** The values of a credentials Secret as they were read. */
export interface ReadCredentials {
  readonly meta: SecretMeta;
  /** Which values were read, and under which keys. */
  readonly keys: string;
  readonly values: CredentialsValues;
}

/** How often in a row a target was repaired that another client had changed, and when last. */
export interface Repairs {
  readonly count: number;
  readonly at: EpochMs;
}

/**
 * What is worth keeping of a credential between reconciles. All of it can be lost at any time. At worst that costs a
 * login, and a session that is not logged out; all else saves a read or spreads retries.
 */
export interface CredentialState {
  /** Of the credential at its last reconcile. */
  uid: string | undefined;
  /** Saves a read per renewal. */
  credentials: ReadCredentials | undefined;
  /** While a token is waited for. Saves parsing it once more when the response is in. */
  parsed: { readonly resource: ConvercusCredential; readonly credential: Credential } | undefined;
  /** The version of the target that was last written by us or found as we wrote it. */
  intactVersion: string | undefined;
  /** When a token was last published, by the monotonic clock. */
  publishedAt: Ms | undefined;
  /** The renew request that was last acted upon, in case the status that says so could not be written. */
  handledRenewRequest: string | undefined;
  /** The renew request that has failed and is to be tried again. */
  failedRenewRequest?: string | undefined;
  /** When the first of several failed reconciles in a row ended. */
  failingSince?: EpochMs | undefined;
  repairs?: Repairs | undefined;
  /** Since when the first token has been waited for, by the monotonic clock. */
  pendingSince?: Ms | undefined;
  /**
   * The status whose write has failed, if that was the last one. It may have been carried out: what the watch has shown
   * may be older than that.
   */
  unwrittenStatus?: CredentialResource['status'];
  /** Requests to the API server that failed in a row. */
  failedRequests: number;
  /** The session as stored in that version of its Secret. */
  session?: { readonly meta: SecretMeta; readonly session: Session } | undefined;
  /** Digest of what was presented for the latest token of a session. */
  presented?: string | undefined;
  /** A session that came in and is not stored yet: it is written before anything else. */
  unstoredSession?: Session | undefined;
  /** A session that is over: its refresh token must not be sent again. */
  endedSession?: Session | undefined;
  /**
   * When the session of now began; undefined before the first login of the term, and after its refresh token was refused
   * as reused, until the next login.
   */
  loggedInAt?: EpochMs | undefined;
  /** The latest login, if it was rejected, and what it had presented. */
  rejected?: { readonly presented: string; readonly tokenFailure: TokenFailure } | undefined;
  /** Sessions that were replaced, to be logged out when the new token is in place. */
  supersededSessions?: readonly Session[] | undefined;
  /** When the session has ended before its time, within the last hour. */
  sessionEnds?: readonly EpochMs[];
  /** Why the next login waits, since when, and what it would present. */
  heldLogin?:
    | (Pick<TokenFailure, 'failure' | 'retryAt'> & {
        readonly at: EpochMs;
        readonly presented: string;
      })
    | undefined;
  /** Log-outs that failed in a row. */
  failedLogouts: number;
  /** How often in a row what was merged into a Secret could not be released. */
  failedReleases?: number | undefined;
  /** How often in a row a former target could not be deleted. */
  failedRemovals?: number | undefined;
  /** How often in a row a session that is not needed could not be looked at or deleted. */
  failedCleanups?: number | undefined;
}

/** One credential in the middle of a reconcile. */
export interface Subject {
  readonly key: Key;
  readonly resource: CredentialResource;
  readonly credential: Credential;
  readonly state: CredentialState;
}

/** The same before its spec has been parsed. */
export type Unparsed = Omit<Subject, 'credential'>;

export class CredentialStates {
  readonly #byKey = new Map<Key, CredentialState>();

  /** @param uid of the credential, which may be another one under the same name than at the last reconcile */
  of(key: Key, uid?: string): CredentialState {
    const state = this.#byKey.get(key) ?? blank();
    this.#byKey.set(key, state);
    if (uid !== undefined && state.uid !== undefined && state.uid !== uid) {
      Object.assign(state, FORGOTTEN_WITH_THE_OBJECT);
    }
    state.uid = uid ?? state.uid;
    return state;
  }

  /** Without making one. */
  find(key: Key): CredentialState | undefined {
    return this.#byKey.get(key);
  }

  /** After a reconcile: thousands have nothing to remember until their first renewal. */
  tidy(key: Key): void {
    const state = this.#byKey.get(key);
    if (state !== undefined && isBlank(state)) this.#byKey.delete(key);
  }

  forget(key: Key): void {
    this.#byKey.delete(key);
  }
}

/** What is known of its Secrets, sessions and logins holds for the next one of that name as well. */
const FORGOTTEN_WITH_THE_OBJECT: Partial<CredentialState> = {
  intactVersion: undefined,
  publishedAt: undefined,
  handledRenewRequest: undefined,
  failedRenewRequest: undefined,
  unwrittenStatus: undefined,
  failingSince: undefined,
  repairs: undefined,
  pendingSince: undefined,
  heldLogin: undefined,
  failedRequests: 0,
};

/** The fields of a renewal are present from the start: one hidden class of V8 takes less memory. */
const blank = (): CredentialState => ({
  uid: undefined,
  credentials: undefined,
  parsed: undefined,
  intactVersion: undefined,
  publishedAt: undefined,
  handledRenewRequest: undefined,
  failedRequests: 0,
  failedLogouts: 0,
});

const isBlank = (state: CredentialState): boolean =>
  Object.entries(state).every(
    ([name, value]) => name === 'uid' || value === undefined || value === 0,
  );
