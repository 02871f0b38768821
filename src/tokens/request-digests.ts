import { hash } from 'node:crypto';
import { Sensitive } from '../lib/sensitive.ts';
import {
  clientIdOf,
  type LoginRequest,
  type PasswordRequest,
  presentsPassword,
  type TokenRequest,
} from '../oauth/grants.ts';

/** Digests of what requests present: equal for equal requests, and telling nothing about what they hold. */
export class RequestDigests {
  readonly #key: string;
  /** A request is looked up several times. */
  readonly #known = new WeakMap<TokenRequest, string>();

  /** @param key must never leave the process: a digest of a password under a known key could be guessed */
  constructor(key: string) {
    this.#key = key;
  }

  /** Of everything that the request presents. */
  of(request: TokenRequest): string {
    const known = this.#known.get(request);
    if (known !== undefined) return known;
    // Failures are shared, and one that names the client id of a spec must not be told where it is secret
    const values = Object.values(request).map((value: string | Sensitive) =>
      value instanceof Sensitive ? [value.reveal()] : value,
    );
    const digest = this.#digest(values);
    this.#known.set(request, digest);
    return digest;
  }

  /** Of a login of the credential of that uid: the client secret may change while it is in flight. */
  ofLogin(request: PasswordRequest, uid: string): string {
    return this.#digest([this.ofPassword(request) ?? '', request.scope, uid]);
  }

  /** Of everything that the request presents, for the one credential of that uid. */
  ofCredential(request: TokenRequest, uid: string): string {
    return this.#digest([this.of(request), uid]);
  }

  /** Of a session: its newest refresh token, whatever is presented along with it. */
  ofSession({ refreshToken }: { readonly refreshToken: Sensitive }): string {
    return this.#digest(['session', refreshToken.reveal()]);
  }

  /** The token URL; of a legacy login, which has no realm, a digest of the endpoint and the organization. */
  realmOf(request: TokenRequest): string {
    if (request.grantType !== 'legacy_login') return request.tokenUrl;
    return this.#digest([request.loginUrl, request.org.reveal()]);
  }

  /**
   * Of the user who logs in, whatever the client; undefined for a request without a password. Keycloak finds a user by
   * a name in any case, so other spellings count as the same user.
   */
  ofUser(request: TokenRequest): string | undefined {
    if (!presentsPassword(request)) return undefined;
    const username = request.username.reveal().trim().toLowerCase();
    return this.#digest([...this.#accountsOf(request), username]);
  }

  /** Of user and password together, as they were written; undefined for a request without a password. */
  ofPassword(request: TokenRequest): string | undefined {
    if (!presentsPassword(request)) return undefined;
    const { username, password } = request;
    const client = request.grantType === 'password' ? [clientIdOf(request)] : [];
    const at = [...this.#accountsOf(request), ...client];
    return this.#digest([...at, username.reveal(), password.reveal()]);
  }

  /** Where the names of users are unique. */
  #accountsOf(request: PasswordRequest | LoginRequest): string[] {
    if (request.grantType === 'password') return [request.tokenUrl];
    return [request.loginUrl, request.org.reveal()];
  }

  #digest(values: readonly (string | readonly string[])[]): string {
    return hash('sha256', `${this.#key}${JSON.stringify(values)}`, 'base64url');
  }
}
