import type { Credential } from '../../credential/credential.ts';
import { type CredentialsValues, requestFrom } from '../../credential/credentials-secret.ts';
import { type FailureKind, isFailure } from '../../lib/failure.ts';
import { systemClock as clock } from '../../lib/system-clock.ts';
import { seconds } from '../../lib/time.ts';
import type { GrantRequest } from '../../oauth/grants.ts';
import { createHttpClient } from '../../oauth/http-client.ts';
import { createLoginSource } from '../../oauth/legacy-login.ts';
import { createLogOut } from '../../oauth/logout.ts';
import type { ProxySettings } from '../../oauth/proxy.ts';
import type { Token } from '../../oauth/token.ts';
import { createTokenSource } from '../../oauth/token-endpoint.ts';
import { TokenHosts } from '../../oauth/token-hosts.ts';
import { duration, plain } from '../output.ts';
import { type Check, failure, ok } from './check.ts';

export interface LoginOptions {
  readonly proxy: ProxySettings;
  readonly version: string;
  readonly signal: AbortSignal;
  /** What to do about a failure of this kind. */
  readonly fixOf: (kind: FailureKind) => string | undefined;
}

const TIMEOUTS = { connect: seconds(5), total: seconds(15) };

/** One token request as the operator sends it. The token is dropped, and a session that it began is ended. */
export async function loginCheck(
  credential: Credential,
  values: CredentialsValues,
  { proxy, version, signal, fixOf }: LoginOptions,
): Promise<Check> {
  const environments = new Map([[credential.environment.name, credential.environment]]);
  const client = createHttpClient({ timeouts: TIMEOUTS, perHost: 1, clock, proxy });
  const hosts = new TokenHosts({
    environments,
    client,
    clock,
    random: () => 0.5,
    userAgent: `kubectl-convercus/${version}`,
    onRequest: () => undefined,
  });
  const request = requestFrom(credential, values);
  try {
    const token = await requested(hosts, request, signal);
    if (isFailure(token)) {
      const { kind, message } = token;
      return failure('Login', kind, `${kind}: ${message}`, fixOf(kind));
    }
    const { refreshToken } = token;
    if (refreshToken !== undefined && request.grantType !== 'legacy_login') {
      const session = { ...request, refreshToken: refreshToken.value };
      await createLogOut(hosts, environments)(session, signal);
    }
    return ok('Login', successText(token));
  } finally {
    await client.close();
  }
}

const requested = (hosts: TokenHosts, request: GrantRequest, signal: AbortSignal) =>
  request.grantType === 'legacy_login'
    ? createLoginSource(hosts)(request, signal)
    : createTokenSource(hosts)(request, signal);

function successText({ expiresAt, issuedAt, scope }: Token): string {
  const scopes = scope === '' ? '' : `, scope "${plain(scope, 120)}"`;
  return `a token was issued, valid for ${duration(expiresAt - issuedAt)}${scopes}; it was dropped`;
}
