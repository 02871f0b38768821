import { afterEach, describe, expect, it } from '@jest/globals';
import type { Settings } from '../../src/credential/credential.ts';
import { hours, minutes } from '../../src/lib/time.ts';
import { createLoginSource } from '../../src/oauth/legacy-login.ts';
import { createTokenSource } from '../../src/oauth/token-endpoint.ts';
import { freeEverything, serve, someHosts } from '../oauth/lab.ts';
import { aCredential, CANARY, SETTINGS } from '../support/builders.ts';
import { GOOD_SECRET, SOURCE, World, WRONG_PASSWORD } from '../support/world.ts';

/** What a credential shows of what a real server answers, byte for byte. */

afterEach(freeEverything);

type Script = Parameters<typeof serve>[0];

/** A world whose tokens come from a scripted server of the environment `staging`. */
async function against(script: Script) {
  const { tokenUrl, port, seen } = await serve(script);
  const staging = SETTINGS.environments.get('staging');
  if (staging === undefined) throw new Error('there is no staging');
  const urls = { tokenUrl, loginUrl: `http://127.0.0.1:${port}/auth/login` };
  const environment = { ...staging, ...urls, insecureHttp: true };
  const settings: Settings = { ...SETTINGS, environments: new Map([['staging', environment]]) };
  const world = new World(settings);
  const { hosts } = someHosts(environment, {
    clock: world.clock,
    environments: settings.environments,
  });
  const [token, login] = [createTokenSource(hosts), createLoginSource(hosts)];
  world.source = (request, signal) =>
    request.grantType === 'legacy_login' ? login(request, signal) : token(request, signal);
  return { world, seen };
}

describe('a wrong password whose refusal can not be read', () => {
  const refusal = (encoding: string, isCut = false): Script => {
    return (_request, response) => {
      const length = isCut ? { 'content-length': '500' } : {};
      const type = { 'content-type': 'application/json', 'content-encoding': encoding };
      response.writeHead(401, { ...type, ...length });
      if (isCut) response.write('not gzip', () => response.destroy());
      else response.end('not gzip');
    };
  };

  const ROWS = [
    ['broken', refusal('gzip')],
    ['unknown', refusal('br')],
    ['cut', refusal('identity', true)],
  ] as const;

  it.each(
    (['legacy_login', 'password'] as const).flatMap((grantType) =>
      ROWS.map(([encoding, script]) => ({ grantType, encoding, script })),
    ),
  )(
    'is presented so rarely that no account is locked: $grantType, $encoding',
    async ({ grantType, script }) => {
      const { world, seen } = await against(script);
      const account = {
        org: `${CANARY}-org`,
        username: `${CANARY}-user`,
        password: WRONG_PASSWORD,
      };
      world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET, ...account } });
      world.cluster.put(aCredential({ spec: { grantType } }));
      await world.runFor(hours(24), await world.reconcile());

      // After 20 minutes, 2 hours and 12 hours once more: a proxy may have refused the right one
      expect(seen.requests).toBe(4);
      expect(world.summary('Ready')).toBe('False CredentialsRejected');
      expect(world.limiter.reports).not.toContainEqual([expect.anything(), 'unreachable']);
      expect(world.shown).not.toContain(CANARY);
    },
  );
});

it('takes a password that a proxy has refused for the server when it is tried again', async () => {
  const script: Script = (_request, response) => {
    if (seen.requests === 1) {
      response.writeHead(401, { 'content-length': '500' });
      response.write('<html>', () => response.destroy());
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ access_token: 'x', token_type: 'Bearer', expires_in: 86_400 }));
  };
  const { world, seen } = await against((...call) => script(...call));
  const account = { username: `${CANARY}-user`, password: GOOD_SECRET };
  world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET, ...account } });
  world.cluster.put(aCredential({ spec: { grantType: 'password' } }));
  await world.runFor(minutes(25), await world.reconcile());

  expect(seen.requests).toBe(2);
  expect(world.summary('Ready')).toBe('True TokenValid');
});

/** Written where a tenant may write. */
const GUESSES = ['0815', '4711', 'wrong-horse', 'correct-horse', 'another'];
/** What the Secret holds. */
const VALUES = { client_secret: 'correct-horse', username: 'user-name', password: '4711' };

describe('what is told of a guess', () => {
  const ECHOES: readonly [string, (guess: string) => [status: number, body: object]][] = [
    [
      'as Keycloak refuses scopes',
      (guess) => [400, { error: 'invalid_scope', error_description: `Invalid scopes: ${guess}` }],
    ],
    [
      'with another code',
      (guess) => [400, { error: 'invalid_request', error_description: `No scope ${guess}` }],
    ],
    [
      'in the name of a service account',
      (guess) => [
        401,
        { error: 'invalid_request', error_description: `User 'x-${guess}' disabled` },
      ],
    ],
    [
      'as prose in capitals',
      (guess) => [403, { error: `You may not have ${guess.toUpperCase()}` }],
    ],
    ['beside the description', (guess) => [400, { error: 'no', error_description: '!', guess }]],
  ];

  it.each(
    ECHOES.flatMap(([how, echo]) =>
      (['client_credentials', 'password'] as const).map((grantType) => ({ how, echo, grantType })),
    ),
  )('is the same for right and wrong ones: $how, $grantType', async ({ echo, grantType }) => {
    const told = new Set<string>();
    for (const guess of GUESSES) {
      const { world } = await against((_request, response) => {
        const [status, body] = echo(guess);
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      });
      world.cluster.putSecret(SOURCE, { data: VALUES });
      world.cluster.put(aCredential({ spec: { grantType, scope: `openid ${guess}` } }));
      await world.reconcile();
      const { events, statuses } = world.cluster;
      told.add(
        JSON.stringify([events, statuses, world.logged]).replaceAll(/127\.0\.0\.1:\d+/g, ''),
      );
    }

    expect(told.size).toBe(1);
  });
});
