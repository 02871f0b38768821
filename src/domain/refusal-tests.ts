/** What decides about the kind of a refusal. */
export interface Facts {
  readonly status: number;
  /** The OAuth error code; empty when the answer is not an OAuth error. */
  readonly error: string;
  /** `error_description`, or the prose that Keycloak puts into `error` when it is no OAuth answer. */
  readonly said: string;
  readonly grantType: string;
}

export type Test = (facts: Facts) => boolean;

export const error =
  (...codes: string[]): Test =>
  (facts) =>
    codes.includes(facts.error);
/** Only the beginning counts: patterns take their time on a long text that is made for it. */
export const says =
  (words: RegExp): Test =>
  (facts) =>
    words.test(facts.said.slice(0, 1_000));
export const status =
  (from: number, to = from): Test =>
  (facts) =>
    facts.status >= from && facts.status <= to;
export const anyStatus =
  (...codes: number[]): Test =>
  (facts) =>
    codes.includes(facts.status);
export const refreshing: Test = (facts) => facts.grantType === 'refresh_token';
export const withoutUser: Test = (facts) => facts.grantType === 'client_credentials';
export const isOAuth: Test = (facts) => facts.error !== '';
