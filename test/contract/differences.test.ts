import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import {
  DIFFERENCES,
  type Difference,
  differencesOf,
} from '../../dev/keycloak/contract/differences.ts';
import { FAILURE_KINDS, type RetryRule } from '../../src/lib/failure.ts';
import type { EndpointRequest } from '../../src/oauth/grants.ts';
import { failureFromResponse } from '../../src/oauth/token-errors.ts';

/** How the operator reads what older Keycloaks say; `npm run matrix` holds that they say it. */

const GRANTS: Readonly<Record<string, EndpointRequest['grantType']>> = {
  'client_credentials grant': 'client_credentials',
  'the request': 'client_credentials',
  'password grant': 'password',
  revoke: 'refresh_token',
  'changes by an administrator': 'refresh_token',
};

const RETRIES: Readonly<Record<RetryRule, string>> = {
  soon: 'after seconds',
  patient: 'after minutes',
  slow: 'after 15 min, then hourly',
  hourly: 'hourly',
  'on-change': 'when it changes',
};

const SINCE = { '26.5': '26.0', '26.7': '26.5' } as const;

function readingOf({ group, title, response }: Difference) {
  if (response === 'tokens') return undefined;
  const [status, error, description] = response;
  const text = JSON.stringify({ error, error_description: description });
  const { kind } = failureFromResponse(
    { status, contentType: 'application/json', text },
    {
      grantType: GRANTS[group] ?? 'client_credentials',
      realm: 'abc-staging',
      host: 'keycloak.test',
      clientId: 'app',
      scope: 'openid',
      secrets: [],
      isServiceAccount: title === 'a service account',
      receivedAt: 0,
    },
  );
  return { kind, retry: FAILURE_KINDS[kind].retry };
}

function lineOf(difference: Difference): string {
  const { title, before, response } = difference;
  const reading = readingOf(difference);
  const said = response === 'tokens' ? 'a token' : `${response[0]} \`${response[1]}\``;
  const [reason, retry] =
    reading === undefined ? ['a token', '–'] : [`\`${reading.kind}\``, RETRIES[reading.retry]];
  return `| ${title} | ${SINCE[before]} | ${said} | ${reason} | ${retry} |`;
}

describe('rows that older Keycloaks respond to otherwise', () => {
  it('are of versions before the one that responds as the contract says', () => {
    expect(differencesOf('26.7.3')).toEqual([]);
    expect(differencesOf('26.5.6').length).toBeGreaterThan(0);
    expect(differencesOf('26.0.8')).toHaveLength(DIFFERENCES.length);
  });

  it('are told in docs/grants.md, with what the operator makes of them', async () => {
    const page = await readFile(join(import.meta.dirname, '../../docs/grants.md'), 'utf8');
    const lines = page.split('\n');
    expect(DIFFERENCES.map(lineOf).filter((line) => !lines.includes(line))).toEqual([]);
  });

  it('let no password be presented again within an hour', () => {
    const withPassword = DIFFERENCES.filter(({ group }) => group === 'password grant');
    const retries = withPassword.map((each) => readingOf(each)?.retry);
    expect(retries.length).toBeGreaterThan(0);
    expect(retries.filter((retry) => retry !== 'on-change' && retry !== 'hourly')).toEqual([]);
  });

  it('end a session only where Keycloak has ended it', () => {
    const ofSessions = DIFFERENCES.filter(({ group }) => GRANTS[group] === 'refresh_token');
    const kinds = ofSessions.map((each) => [each.title, readingOf(each)?.kind]);
    expect(Object.fromEntries(kinds)).toEqual({
      'a refresh token from before the not-before of the client': undefined,
      'leaves other sessions of the user alone': 'SessionEnded',
    });
  });
});
