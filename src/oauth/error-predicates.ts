/** What decides about the kind of a refusal. */
export interface TokenError {
  readonly status: number;
  /** The OAuth error code; empty when the answer is not an OAuth error. */
  readonly error: string;
  /** `error_description`, or the prose that Keycloak puts into `error` when it is no OAuth answer. */
  readonly description: string;
  readonly grantType: string;
}

export type Predicate = (tokenError: TokenError) => boolean;

export const error =
  (...codes: string[]): Predicate =>
  (tokenError) =>
    codes.includes(tokenError.error);
/** Only the beginning counts: patterns take their time on a long text that is made for it. */
export const describedAs =
  (words: RegExp): Predicate =>
  (tokenError) =>
    words.test(tokenError.description.slice(0, 1_000));
export const status =
  (from: number, to = from): Predicate =>
  (tokenError) =>
    tokenError.status >= from && tokenError.status <= to;
export const anyStatus =
  (...codes: number[]): Predicate =>
  (tokenError) =>
    codes.includes(tokenError.status);
export const refreshing: Predicate = (tokenError) => tokenError.grantType === 'refresh_token';
export const withoutUser: Predicate = (tokenError) => tokenError.grantType === 'client_credentials';
export const isOAuth: Predicate = (tokenError) => tokenError.error !== '';
