import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { FailureKind } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, seconds } from '../../src/lib/time.ts';
import type { HttpResponse } from '../../src/oauth/http-response.ts';
import { failureFromResponse, type TokenRequestContext } from '../../src/oauth/token-errors.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { runs } from '../support/runs.ts';

const RECEIVED_AT = Date.parse('2026-03-01T12:00:00Z');
const context = (changes: Partial<TokenRequestContext> = {}) => ({
  grantType: 'client_credentials' as const,
  host: 'auth.convercus.test',
  realm: 'ABC',
  clientId: 'machine-2-machine',
  scope: 'openid',
  secrets: [],
  receivedAt: RECEIVED_AT,
  ...changes,
});
const response = (
  status: number,
  body: unknown,
  changes: Partial<HttpResponse> = {},
): HttpResponse => ({
  status,
  contentType: 'application/json',
  text: typeof body === 'string' ? body : JSON.stringify(body),
  ...changes,
});
const html = (status: number) => response(status, '<html>no</html>', { contentType: 'text/html' });

it('a client id is told unless it comes from a Secret', () => {
  const failed = response(401, { error: 'invalid_client', error_description: 'x' });
  expect(failureFromResponse(failed, context()).message).toContain('client "machine-2-machine"');
  const clientId = new Sensitive('secret-client');
  const { message } = failureFromResponse(failed, context({ clientId, secrets: [clientId] }));
  expect(message).toContain('(realm "ABC" at auth.convercus.test)');
  const echo = response(401, { error: 'invalid_client', error_description: 'no secret-client' });
  const echoed = failureFromResponse(echo, context({ clientId, secrets: [clientId] }));
  expect(echoed.message).not.toContain('secret-client');
});

describe('what older Keycloaks say', () => {
  const password = { grantType: 'password' as const };
  const broken = response(500, { error: 'unknown_error' });

  it('up to 26.0 of a service account that logs in by password: rejected, not a server that is down', () => {
    const kindOf = (isServiceAccount: boolean) =>
      failureFromResponse(broken, context({ ...password, isServiceAccount })).kind;
    expect(kindOf(true)).toBe('CredentialsRejected');
    expect(kindOf(false)).toBe('ServerUnavailable');
  });

  it('in 22 of one session too many', () => {
    const body = {
      error: 'generic_authentication_error',
      error_description: 'sessionLimitExceeded',
    };
    const { kind } = failureFromResponse(response(401, body), context(password));
    expect(kind).toBe('SessionContention');
  });
});

const BOTH = 'Invalid client or Invalid client credentials';

type Row = readonly [
  says: string,
  kind: FailureKind,
  status: number,
  error: string,
  description?: string,
];

/** What any grant can meet. */
const COMMON: readonly Row[] = [
  ['unknown realm', 'RealmNotFound', 404, 'Realm does not exist'],
  [
    'unknown realm, some versions',
    'RealmNotFound',
    404,
    'Realm does not exist',
    'For more on this error consult the server log.',
  ],
  ['wrong path under a realm', 'EndpointNotFound', 404, 'HTTP 404 Not Found'],
  ['wrong path outside', 'EndpointNotFound', 404, 'Unable to find matching target resource method'],
  ['wrong protocol name', 'EndpointNotFound', 404, 'Protocol not found'],
  ['plain HTTP', 'InsecureEndpoint', 403, 'invalid_request', 'HTTPS required'],
  ['realm disabled', 'RealmDisabled', 403, 'access_denied', 'Realm not enabled'],
  ['access denied otherwise', 'AccessBlocked', 403, 'access_denied', 'Not from there'],
  ['access denied with 400', 'AccessBlocked', 400, 'access_denied', 'Not from there'],
  [
    'grant_type missing',
    'InvalidRequest',
    400,
    'invalid_request',
    'Missing form parameter: grant_type',
  ],
  [
    'grant_type unknown',
    'GrantNotAllowed',
    400,
    'unsupported_grant_type',
    'Unsupported grant_type',
  ],
  ['a parameter twice', 'InvalidRequest', 400, 'invalid_request', 'duplicated parameter'],
  [
    'client_id missing, 400',
    'ClientUnknownOrDisabled',
    400,
    'invalid_client',
    'Missing client_id parameter',
  ],
  ['client_id missing, 401', 'ClientUnknownOrDisabled', 401, 'invalid_client', BOTH],
  ['unknown or disabled client', 'ClientUnknownOrDisabled', 401, 'invalid_client', BOTH],
  ['wrong, missing or expired secret', 'ClientSecretRejected', 401, 'unauthorized_client', BOTH],
  [
    'old: unknown client',
    'ClientUnknownOrDisabled',
    400,
    'invalid_client',
    'Invalid client credentials',
  ],
  [
    'old: client not found',
    'ClientUnknownOrDisabled',
    400,
    'unauthorized_client',
    'Could not find client',
  ],
  [
    'old: client disabled',
    'ClientUnknownOrDisabled',
    400,
    'unauthorized_client',
    'Client is not enabled',
  ],
  [
    'old: wrong secret',
    'ClientSecretRejected',
    400,
    'unauthorized_client',
    'Invalid client secret',
  ],
  [
    'old: wrong secret, other code',
    'ClientSecretRejected',
    400,
    'invalid_client',
    'Invalid client secret',
  ],
  [
    'old: wrong credentials',
    'ClientSecretRejected',
    400,
    'unauthorized_client',
    'Invalid client credentials',
  ],
  ['wrong secret without words', 'ClientSecretRejected', 401, 'unauthorized_client'],
  [
    'service accounts off',
    'GrantNotAllowed',
    401,
    'unauthorized_client',
    'Client not enabled to retrieve service account',
  ],
  [
    'public client',
    'GrantNotAllowed',
    401,
    'unauthorized_client',
    'Public client not allowed to retrieve service account',
  ],
  [
    'bearer-only client',
    'GrantNotAllowed',
    401,
    'unauthorized_client',
    'Bearer-only client not allowed to retrieve service account',
  ],
  ['RFC 6749 sense of the code', 'GrantNotAllowed', 400, 'unauthorized_client'],
  [
    'service account missing',
    'AccountNotReady',
    401,
    'invalid_request',
    'The associated service account for the client does not exist',
  ],
  [
    'service account disabled',
    'AccountDisabled',
    401,
    'invalid_request',
    "User 'service-account-x' disabled",
  ],
  ['consent required', 'GrantNotAllowed', 400, 'invalid_client', 'Client requires user consent'],
  ['a grant that is refused', 'InvalidRequest', 400, 'invalid_grant', 'No reason given'],
  ['bad scope', 'InvalidScope', 400, 'invalid_scope', 'Invalid scopes: openid nope'],
  ['client policy', 'InvalidRequest', 400, 'invalid_policy_thing', 'Refused by policy'],
  [
    'mTLS demanded',
    'UnsupportedByOperator',
    400,
    'invalid_request',
    'Client Certification missing for MTLS HoK Token Binding',
  ],
  ['DPoP demanded', 'UnsupportedByOperator', 400, 'invalid_dpop_proof', 'DPoP proof is missing'],
  [
    'DPoP demanded, as a request fault',
    'UnsupportedByOperator',
    400,
    'invalid_request',
    'DPoP proof is missing',
  ],
  [
    'signed assertion demanded',
    'UnsupportedByOperator',
    400,
    'invalid_client',
    'Parameter client_assertion_type is missing',
  ],
  ['uncaught server error', 'ServerUnavailable', 500, 'unknown_error'],
  ['server error by code', 'ServerUnavailable', 400, 'server_error'],
  ['overload by code', 'ServerUnavailable', 503, 'temporarily_unavailable'],
  ['unknown code with 503', 'ServerUnavailable', 503, 'upstream_down'],
  ['unknown code with 429', 'RateLimited', 429, 'too_many_requests'],
  ['a gateway that knows no such path', 'EndpointNotFound', 404, 'not_found'],
  ['a gateway that forbids', 'AccessBlocked', 403, 'forbidden'],
  ['a gateway that wants to know who asks', 'AccessBlocked', 401, 'unauthorized'],
  ['an unknown code and status', 'UnexpectedResponse', 409, 'conflict'],
  ['slow down', 'RateLimited', 400, 'slow_down'],
];

const PASSWORD: readonly Row[] = [
  [
    'wrong password or locked, up to 26.5',
    'CredentialsRejected',
    401,
    'invalid_grant',
    'Invalid user credentials',
  ],
  [
    'wrong password or locked, from 26.6',
    'CredentialsRejected',
    400,
    'invalid_grant',
    'Invalid user credentials',
  ],
  [
    'forbidden by a client policy',
    'GrantNotAllowed',
    400,
    'invalid_grant',
    'resource owner password credentials grant is prohibited.',
  ],
  [
    'offline access without the role',
    'InvalidScope',
    400,
    'not_allowed',
    'Offline tokens not allowed for the user or client',
  ],
  ['one session too many', 'SessionContention', 403, 'There are too many sessions'],
  ['user disabled', 'AccountDisabled', 400, 'invalid_grant', 'Account disabled'],
  ['user disabled, older', 'AccountDisabled', 401, 'invalid_grant', 'Account disabled'],
  ['username missing', 'InvalidRequest', 401, 'invalid_request', 'Missing parameter: username'],
  [
    'required action pending',
    'AccountNotReady',
    400,
    'invalid_grant',
    'Account is not fully set up',
  ],
  [
    'direct access grants off',
    'GrantNotAllowed',
    400,
    'unauthorized_client',
    'Client not allowed for direct access grants',
  ],
];

const REFRESH: readonly Row[] = [
  ['garbage, or keys changed', 'SessionEnded', 400, 'invalid_grant', 'Invalid refresh token'],
  ['expired', 'SessionEnded', 400, 'invalid_grant', 'Token is not active'],
  ['logged out', 'SessionEnded', 400, 'invalid_grant', 'Session not active'],
  [
    'client session detached',
    'SessionEnded',
    400,
    'invalid_grant',
    "Session doesn't have required client",
  ],
  [
    'spent',
    'RefreshTokenReused',
    400,
    'invalid_grant',
    'Maximum allowed refresh token reuse exceeded',
  ],
  ['stale', 'SessionEnded', 400, 'invalid_grant', 'Stale token'],
  ['stale, other words', 'SessionEnded', 400, 'invalid_grant', 'Stale refresh token'],
  [
    'other client',
    'SessionEnded',
    400,
    'invalid_grant',
    "Invalid refresh token. Token client and authorized client don't match",
  ],
  [
    'session recreated',
    'SessionEnded',
    400,
    'invalid_grant',
    'Refresh toked issued before the user session started',
  ],
  ['offline session ended', 'SessionEnded', 400, 'invalid_grant', 'Offline session not active'],
  [
    'offline session unknown',
    'SessionEnded',
    400,
    'invalid_grant',
    'Offline user session not found',
  ],
  ['user disabled', 'AccountDisabled', 400, 'invalid_grant', 'User disabled'],
  [
    'consent withdrawn',
    'GrantNotAllowed',
    400,
    'invalid_scope',
    'Client no longer has requested consent from user',
  ],
  ['secret changed', 'ClientSecretRejected', 401, 'unauthorized_client', BOTH],
  ['client disabled', 'ClientUnknownOrDisabled', 401, 'invalid_client', BOTH],
  ['unknown', 'SessionEnded', 400, 'invalid_grant'],
];

describe.each([
  ['client_credentials', COMMON],
  ['password', PASSWORD],
  ['refresh_token', REFRESH],
] as const)('error responses of %s', (grantType, rows) => {
  const cases = rows.map(([says, kind, status, error, description]) => ({
    says,
    kind,
    response: response(status, { error, error_description: description }),
    // Where scopes are refused the server repeats them, so only the code is shown
    quoted:
      description === undefined || error.includes(' ') || error === 'invalid_scope'
        ? error
        : description,
  }));

  it.each(cases)(
    '$says → $kind ($response.status $response.text)',
    ({ kind, response, quoted }) => {
      const failure = failureFromResponse(response, context({ grantType }));
      expect(failure.kind).toBe(kind);
      expect(failure.message).toContain(
        'realm "ABC" at auth.convercus.test, client "machine-2-machine"',
      );
      expect(failure.message).toContain(`HTTP ${response.status}, `);
      expect(failure.message).toContain(quoted);
    },
  );
});

describe('responses that are no OAuth response', () => {
  it.each<[number, FailureKind]>([
    [200, 'UnexpectedResponse'],
    [204, 'UnexpectedResponse'],
    [301, 'UnexpectedRedirect'],
    [302, 'UnexpectedRedirect'],
    [307, 'UnexpectedRedirect'],
    [400, 'UnexpectedResponse'],
    [401, 'AccessBlocked'],
    [403, 'AccessBlocked'],
    [404, 'EndpointNotFound'],
    [405, 'EndpointNotFound'],
    [407, 'AccessBlocked'],
    [408, 'RateLimited'],
    [425, 'RateLimited'],
    [429, 'RateLimited'],
    [500, 'ServerUnavailable'],
    [502, 'ServerUnavailable'],
    [503, 'ServerUnavailable'],
    [504, 'ServerUnavailable'],
  ])('go by their status: HTML with %d → %s', (status, kind) => {
    const failure = failureFromResponse(html(status), context());
    expect([failure.kind, failure.code]).toEqual([kind, String(status)]);
    expect(failure.message).not.toContain('<html>');
  });

  it('are never read as OAuth for what an HTML page holds', () => {
    const disguised = response(502, { error: 'invalid_client' }, { contentType: 'text/html' });
    expect(failureFromResponse(disguised, context()).kind).toBe('ServerUnavailable');
  });
});

describe('the message of a failure', () => {
  it('reads as what, where, what to do, and what the server said', () => {
    expect(
      failureFromResponse(response(404, { error: 'Realm does not exist' }), context()).message,
    ).toBe(
      'The realm does not exist (realm "ABC" at auth.convercus.test, client "machine-2-machine"). ' +
        'Check spec.program, spec.environment and spec.realm: letter case counts (names are usually in lower case), ' +
        'and the realms of staging end in "-staging". The server answered HTTP 404, "Realm does not exist".',
    );
  });

  it('holds no control characters and no flood of words', () => {
    const noise = {
      error: 'invalid_request',
      error_description: `\u001b[31m\n${'x'.repeat(5_000)}`,
    };
    const { message } = failureFromResponse(response(400, noise), context());
    expect(message).not.toMatch(/\p{Cc}/u);
    expect(message.length).toBeLessThan(600);
  });

  it('never holds the secret, whatever the server echoes', () => {
    const secret = fc
      .string({ minLength: 8, unit: anyCharacter })
      .filter((s) => s.trim().length > 7);
    const word = fc.stringMatching(/^[a-z_]{12,20}$/);
    fc.assert(
      fc.property(fc.oneof(secret, word), fc.integer({ min: 200, max: 599 }), (value, status) => {
        const echo = `got ${value} / ${encodeURIComponent(value.toWellFormed())} /`;
        const body = { error: value, error_description: echo, [value]: value };
        const secrets = [new Sensitive(value.toWellFormed())];
        const failure = failureFromResponse(
          response(status, JSON.stringify(body).toWellFormed()),
          context({ secrets }),
        );
        expect(`${failure.message} ${failure.code}`).not.toContain(value);
      }),
    );
  });

  const messageOf = (answer: HttpResponse, changes: Partial<TokenRequestContext>): string =>
    failureFromResponse(answer, context(changes)).message;

  it.each([
    ['as it is', 'pass phrase'],
    ['in capitals', 'PASS PHRASE'],
    ['form-encoded', 'pass+phrase'],
    ['in base64', Buffer.from('pass phrase').toString('base64')],
  ])('is the code alone when the server echoes the secret %s', (_, echo) => {
    const secrets = [new Sensitive('pass phrase')];
    const answer = (error_description: string) =>
      response(400, { error: 'invalid_request', error_description });
    const message = messageOf(answer(`Not good: ${echo}!`), { secrets });
    expect(message).toMatch(/The server answered HTTP 400, invalid_request\.$/);
    expect(messageOf(answer('Not good'), { secrets })).toContain('"Not good"');
  });

  it('quotes nothing of a response that holds the secret anywhere', () => {
    const body = { error: 'invalid_request', error_description: 'See below', sent: 'pass phrase' };
    const message = messageOf(response(400, body), { secrets: [new Sensitive('pass phrase')] });
    expect(message).toMatch(/HTTP 400, invalid_request\.$/);
  });

  it('shows a code that is unknown only if it is no echo', () => {
    const answer = response(400, { error: 'policy_says_no' });
    expect(messageOf(answer, {})).toMatch(/HTTP 400, policy_says_no\.$/);
    expect(messageOf(answer, { scope: 'openid policy_says_no' })).toMatch(/HTTP 400\.$/);
    const secrets = [new Sensitive('policy_says')];
    expect(messageOf(answer, { secrets })).toMatch(/HTTP 400\.$/);
  });

  it('quotes no scope where scopes are refused', () => {
    const answer = response(400, {
      error: 'invalid_scope',
      error_description: 'Invalid scopes: x',
    });
    expect(messageOf(answer, { scope: 'y' })).toMatch(/HTTP 400, invalid_scope\.$/);
  });

  it('is the same for right and wrong guesses that the server echoes, in whatever way', () => {
    const guess = fc.oneof(
      fc.constantFrom('4711', '0815', 'hunter2', 'pass-phrase', 'PASS-PHRASE'),
      fc.stringMatching(/^[!#-[\]-~]{1,20}$/),
    );
    const secrets = (value: string) => [new Sensitive(value), new Sensitive('another secret')];
    const echoed = fc.record({
      guesses: fc.array(guess, { minLength: 1, maxLength: 20 }),
      place: fc.constantFrom('scope' as const, 'clientId' as const, 'realm' as const),
      error: fc.constantFrom('invalid_scope', 'invalid_request', 'access_denied', 'odd_code', ''),
      status: fc.constantFrom(400, 401, 403, 404, 429, 503),
      echo: fc.constantFrom<(text: string) => string>(
        (text) => `Invalid: ${text}`,
        (text) => text.toUpperCase(),
        (text) => text.toLowerCase(),
        (text) => `Invalid: ${text.slice(0, 30)}…`,
      ),
      right: fc.nat(19),
    });
    fc.assert(
      fc.property(echoed, ({ guesses, place, error, status, echo, right }) => {
        const chosen = guesses.join(place === 'scope' ? ' ' : '');
        const text = echo(chosen);
        const body = error === '' ? { error: text } : { error, error_description: text };
        const told = (secret: string) =>
          messageOf(response(status, body), { [place]: chosen, secrets: secrets(secret) });
        expect(told(guesses[right % guesses.length] ?? '')).toBe(told('none of them'));
      }),
      { numRuns: runs(2_000) },
    );
  });

  it('holds no control or format character and at most 1,000 characters, whatever comes', () => {
    const text = fc.oneof(
      fc.string({ unit: anyCharacter, maxLength: 2_000 }),
      fc.constantFrom('\u001b[31m', '\u202e\u2028', 'x'.repeat(5_000)),
    );
    fc.assert(
      fc.property(text, text, text, text, fc.integer({ min: 300, max: 599 }), (...some) => {
        const [error, error_description, realm, clientId, status] = some;
        const failure = failureFromResponse(
          response(status, { error, error_description }),
          context({ realm, clientId, scope: error_description.slice(5) }),
        );
        expect(failure.message).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(failure.message.length).toBeLessThanOrEqual(1_000);
        expect(failure.code).toMatch(/^(\d{3}|[a-z_]{1,64})$/);
      }),
      { numRuns: runs(500) },
    );
  });
});

describe('Retry-After', () => {
  const maxWait = (retryAfter: string, status = 429, date?: string) =>
    failureFromResponse(
      { ...html(status), retryAfter, ...(date !== undefined && { date }) },
      context(),
    ).retryAfter;

  it('is given in seconds or as a date by the clock of the server', () => {
    expect(maxWait('7')).toBe(seconds(7));
    expect(maxWait('Sun, 01 Mar 2026 12:00:07 GMT', 503)).toBe(seconds(7));
    expect(maxWait('Sun, 01 Mar 2026 13:00:07 GMT', 503, 'Sun, 01 Mar 2026 13:00:00 GMT')).toBe(
      seconds(7),
    );
  });

  it('is an hour at most', () => {
    expect(maxWait('999999999')).toBe(hours(1));
    expect(maxWait('Sun, 01 Mar 2099 12:00:07 GMT')).toBe(hours(1));
  });

  it.each(['', '0', '-5', 'soon', '1e9', 'Sun, 01 Mar 2020 12:00:07 GMT'])(
    'is ours to choose after "%s"',
    (text) => {
      expect(maxWait(text)).toBeUndefined();
    },
  );

  it('does not matter where waiting heals nothing', () => {
    expect(maxWait('7', 301)).toBeUndefined();
  });
});
