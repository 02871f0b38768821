import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { bruteForceRows, CHANGES } from './administration-rows.ts';
import type { Backend } from './backend.ts';
import { checkOf, type Difference } from './differences.ts';
import { CLIENT_CREDENTIALS, passwordRows, REQUEST } from './grant-rows.ts';
import { Lab } from './lab.ts';
import { LOGOUT, REVOKE } from './logout-rows.ts';
import { LIFETIMES, OFFLINE_ACCESS, REFRESH } from './refresh-rows.ts';
import { type ExpectedError, type Row, USER } from './rows.ts';

export interface ContractOptions {
  /** The status for a wrong user password: 401 up to Keycloak 26.5. Default: 400. */
  readonly rejected?: 400 | 401;
  /** The rows to which an older version responds otherwise. */
  readonly differences?: readonly Difference[];
}

/** Tests of the dialect, for the server in `dialect/` and for a real Keycloak 26.7. */
export function tokenEndpointContract(
  name: string,
  start: () => Promise<Backend>,
  { rejected = 400, differences = [] }: ContractOptions = {},
): void {
  const wrongPassword: ExpectedError = [rejected, 'invalid_grant', USER];
  const groups: Record<string, Row[]> = {
    'client_credentials grant': CLIENT_CREDENTIALS,
    'the request': REQUEST,
    'password grant': passwordRows(wrongPassword),
    'refresh_token grant': REFRESH,
    lifetimes: LIFETIMES,
    'offline access': OFFLINE_ACCESS,
    logout: LOGOUT,
    revoke: REVOKE,
    'brute-force detection': bruteForceRows(wrongPassword),
    'changes by an administrator': CHANGES,
  };
  describe(name, () => {
    let backend: Backend | undefined;
    let lab: Lab;
    beforeAll(async () => {
      backend = await start();
      lab = await Lab.open(backend);
    }, 600_000);
    afterAll(() => backend?.stop(), 180_000);
    for (const [group, rows] of Object.entries(groups)) {
      describe(group, () => {
        const due = rows.map((row) => ({ ...row, check: checkOf(group, row, differences) }));
        it.each(due)('$title', async ({ send, check }) => check(await send(lab)), 60_000);
      });
    }
  });
}
