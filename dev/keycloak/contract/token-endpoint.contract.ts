import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { bruteForceRows, CHANGES } from './administration-rows.ts';
import type { Backend } from './backend.ts';
import { CLIENT_CREDENTIALS, passwordRows, REQUEST } from './grant-rows.ts';
import { Lab } from './lab.ts';
import { LOGOUT, REVOKE } from './logout-rows.ts';
import { LIFETIMES, OFFLINE_ACCESS, REFRESH } from './refresh-rows.ts';
import { type Row, type Said, USER } from './rows.ts';

/**
 * The dialect that the operator relies on, row by row: the identity provider of dev/ and a real Keycloak 26.7
 * both have to keep it. `rejected` is the status of a refused user password, 401 up to Keycloak 26.5.
 */
export function tokenEndpointContract(
  name: string,
  start: () => Promise<Backend>,
  rejected: 400 | 401 = 400,
): void {
  const refusal: Said = [rejected, 'invalid_grant', USER];
  const groups: Record<string, Row[]> = {
    'client_credentials grant': CLIENT_CREDENTIALS,
    'the request': REQUEST,
    'password grant': passwordRows(refusal),
    'refresh_token grant': REFRESH,
    lifetimes: LIFETIMES,
    'offline access': OFFLINE_ACCESS,
    logout: LOGOUT,
    revoke: REVOKE,
    'brute-force detection': bruteForceRows(refusal),
    'changes by an administrator': CHANGES,
  };
  describe(name, () => {
    let backend: Backend | undefined;
    let lab: Lab;
    beforeAll(async () => {
      backend = await start();
      lab = await Lab.open(backend);
    }, 600_000);
    afterAll(() => backend?.stop(), 60_000);
    for (const [group, rows] of Object.entries(groups)) {
      describe(group, () => {
        it.each(rows)('$title', async ({ ask, check }) => check(await ask(lab)), 60_000);
      });
    }
  });
}
