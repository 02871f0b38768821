import { expect } from '@jest/globals';
import type { ParsedResponse } from './lab.ts';
import {
  type ExpectedError,
  invalidGrant,
  JWT,
  NOT_ACTIVE,
  type Row,
  SCOPE_NOPE,
  SECRET_REFUSED,
  USER,
} from './rows.ts';

/** A row to which Keycloak responds otherwise up to a version. */
export interface Difference {
  readonly group: string;
  /** Of the row. */
  readonly title: string;
  /** The minor version that was the first, of those that were tried, to respond as the contract says. */
  readonly before: '26.5' | '26.7';
  /** What it responds instead. */
  readonly response: ExpectedError | 'tokens';
}

const BROKEN: ExpectedError = [
  500,
  'unknown_error',
  'For more on this error consult the server log.',
];

/** Besides these the status of a wrong password is 401 before 26.6. */
export const DIFFERENCES: readonly Difference[] = [
  {
    group: 'password grant',
    title: 'user disabled, wrong password',
    before: '26.7',
    response: invalidGrant('Account disabled'),
  },
  {
    group: 'client_credentials grant',
    title: 'bearer-only client',
    before: '26.7',
    response: SECRET_REFUSED,
  },
  {
    group: 'changes by an administrator',
    title: 'a refresh token from before the not-before of the client',
    before: '26.7',
    response: 'tokens',
  },
  {
    group: 'client_credentials grant',
    title: 'a DPoP proof is required',
    before: '26.5',
    response: 'tokens',
  },
  {
    group: 'client_credentials grant',
    title: 'the proof is checked before the scope',
    before: '26.5',
    response: SCOPE_NOPE,
  },
  {
    group: 'password grant',
    title: 'the proof is checked before the password',
    before: '26.5',
    response: [401, 'invalid_grant', USER],
  },
  {
    group: 'password grant',
    title: 'a service account',
    before: '26.5',
    response: BROKEN,
  },
  {
    group: 'client_credentials grant',
    title: 'service account deleted',
    before: '26.5',
    response: 'tokens',
  },
  {
    group: 'the request',
    title: 'a semicolon in the path',
    before: '26.5',
    response: BROKEN,
  },
  {
    group: 'revoke',
    title: 'leaves other sessions of the user alone',
    before: '26.5',
    response: NOT_ACTIVE,
  },
];

/** What applies to a version such as `26.0.8`. */
export const differencesOf = (version: string): Difference[] =>
  DIFFERENCES.filter(({ before }) => isBefore(version, before));

export const isBefore = (version: string, minor: string): boolean =>
  version.localeCompare(minor, 'en', { numeric: true }) < 0;

/** The check of the row, or of what is different there. */
export function checkOf(
  group: string,
  { title, check }: Row,
  differences: readonly Difference[],
): Row['check'] {
  const difference = differences.find((each) => each.group === group && each.title === title);
  return difference === undefined
    ? check
    : (response) => expectDifference(response, difference.response);
}

function expectDifference({ status, body }: ParsedResponse, expected: Difference['response']) {
  if (expected === 'tokens') {
    expect([status, body['access_token']]).toEqual([200, expect.stringMatching(JWT)]);
  } else {
    const { error = '', error_description: description = '' } = body;
    expect([status, error, description]).toEqual(expected);
  }
}
