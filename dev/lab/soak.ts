/**
 * `npm run soak -- SCENARIO`: one long run against real servers, and a table of its results, also as JSON.
 * Exits with 0 only if every threshold was met.
 */
import { parseArgs } from 'node:util';
import { missingForControlPlane } from '../envtest/binaries.ts';
import type { Log } from '../envtest/server-process.ts';
import { missingForKeycloak } from '../keycloak/server/distribution.ts';
import { openPlaces } from '../testbed/leaks.ts';
import type { Grant } from './accounts.ts';
import { BuiltInProvider } from './built-in-provider.ts';
import { leakRows } from './leaks.ts';
import { KeycloakProvider, type Provider } from './provider.ts';
import { atMost, missed, type Row, table } from './report.ts';
import { kills } from './scenarios/kills.ts';
import { hangingHost } from './scenarios/lateness.ts';
import { lostSessions } from './scenarios/lost-sessions.ts';
import { rotation } from './scenarios/rotation.ts';
import { type SoakOptions, sessionMax, steady } from './scenarios/sessions.ts';
import { wrongSecret } from './scenarios/wrong-secret.ts';
import { LabTestbed } from './testbed.ts';
import { requireAll, UsageError } from './usage.ts';

/** A scenario and its defaults. */
interface Scenario {
  readonly about: string;
  readonly run: (testbed: LabTestbed<Provider>, options: SoakOptions) => Promise<Row[]>;
  readonly for: string;
  readonly credentials: number;
  readonly tokenSeconds?: number;
  readonly provider?: ProviderName;
}

export const SOAK_SCENARIOS: Readonly<Record<string, Scenario>> = {
  steady: {
    about: 'short tokens and rotation: logins, reuse, expired seconds',
    run: steady,
    for: '10m',
    credentials: 20,
    tokenSeconds: 20,
  },
  kills: {
    about: 'the same with the operator killed every 20 s',
    run: kills,
    for: '10m',
    credentials: 20,
    tokenSeconds: 20,
  },
  'session-max': {
    about: 'sessions end after 2 minutes: logins an hour',
    run: sessionMax,
    for: '10m',
    credentials: 4,
    tokenSeconds: 20,
  },
  'wrong-password': {
    about: 'attempts with a wrong password through two restarts, then the right one',
    run: (testbed, options) =>
      wrongSecret(testbed, { ...options, restarts: 2, readyThreshold: atMost(15) }),
    for: '10m',
    credentials: 1,
  },
  'lost-sessions': {
    about: 'the provider loses all sessions: logins a second, and in which order',
    run: lostSessions,
    for: '5m',
    credentials: 200,
    tokenSeconds: 300,
  },
  rotation: {
    about: 'a new client secret, at the provider first and in the Secret first',
    run: rotation,
    for: '4m',
    credentials: 4,
    tokenSeconds: 60,
  },
  'hanging-host': {
    about: 'one of two hosts never responds: lateness at the other',
    run: (testbed, { credentials, grant, milliseconds }) =>
      hangingHost(testbed, {
        count: credentials,
        namespaces: 1,
        grant,
        tokenSeconds: 10,
        windowMs: milliseconds / 2,
      }),
    for: '2m',
    credentials: 20,
    provider: 'built-in',
  },
};

const HELP = `npm run soak -- SCENARIO [--for 10m] [--credentials N] [--grant GRANT] [--provider PROVIDER]

${Object.entries(SOAK_SCENARIOS)
  .map(([name, { about }]) => `  ${name.padEnd(16)}${about}`)
  .join('\n')}

  --for TIME          how long, such as 90s or 10m
  --credentials N     how many
  --token-seconds N   lifetime of an access token, for steady, kills, session-max, lost-sessions and rotation
  --grant GRANT       password (default) or client_credentials
  --provider NAME     keycloak (default; hanging-host: built-in) or built-in`;

const PROVIDERS = {
  keycloak: (log: Log): Promise<Provider> => KeycloakProvider.start(log),
  'built-in': (): Promise<Provider> => BuiltInProvider.start(),
};

type ProviderName = keyof typeof PROVIDERS;

export interface RunOptions extends SoakOptions {
  readonly provider: ProviderName;
  readonly log: Log;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
}

/** The scenario, and then a search for its secrets where none may be. */
export async function runSoak({ run }: Pick<Scenario, 'run'>, options: RunOptions): Promise<Row[]> {
  const { log, provider, signal } = options;
  const startProvider = () => PROVIDERS[provider](log);
  await using testbed = await LabTestbed.start({ startProvider, log, signal, logLevel: 'debug' });
  const rows = await run(testbed, options);
  const { controlPlane, operators, secrets, readers } = testbed;
  const tokens = readers.flatMap(({ targets }) => [...targets.values()].flat());
  const sessionValues = readers.flatMap((reader) => [...reader.sessionValues]);
  const values = new Set([...secrets, ...tokens.map(({ token }) => token), ...sessionValues]);
  const lookedFor = [...values].filter((value) => value.length > 20);
  return [...rows, ...leakRows(await openPlaces(controlPlane, ...operators), lookedFor)];
}

const parse = (args: string[]) =>
  parseArgs({
    args,
    allowPositionals: true,
    options: {
      for: { type: 'string' },
      credentials: { type: 'string' },
      'token-seconds': { type: 'string' },
      grant: { type: 'string', default: 'password' },
      provider: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });

type Values = ReturnType<typeof parse>['values'];

/** Resolves to the exit code. */
export async function soak(args: string[]): Promise<number> {
  const { values, positionals } = parse(args);
  const [name = ''] = positionals;
  const scenario = Object.hasOwn(SOAK_SCENARIOS, name) ? SOAK_SCENARIOS[name] : undefined;
  if (values.help || scenario === undefined) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const options = optionsFor(scenario, values);
  requireAll(await missingForControlPlane());
  if (options.provider === 'keycloak') requireAll(await missingForKeycloak());
  const rows = await runSoak(scenario, options);
  const { grant, provider, credentials, milliseconds } = options;
  const what = { scenario: name, grant, provider, credentials, seconds: milliseconds / 1_000 };
  console.log(`\n${Object.values(what).join(', ')} s\n\n${table(rows)}\n`);
  console.log(JSON.stringify({ ...what, rows }));
  return missed(rows).length === 0 ? 0 : 1;
}

function optionsFor(defaults: Scenario, values: Values): RunOptions {
  const milliseconds = durationOf(values.for ?? defaults.for);
  const credentials = Number(values.credentials ?? defaults.credentials);
  const tokenSeconds = Number(values['token-seconds'] ?? defaults.tokenSeconds ?? 0);
  const { grant, provider = defaults.provider ?? 'keycloak' } = values;
  if (!isGrant(grant)) throw new UsageError('--grant: write password or client_credentials');
  if (!isProvider(provider)) throw new UsageError('--provider: write keycloak or built-in');
  if (!(milliseconds > 0 && credentials > 0 && tokenSeconds >= 0))
    throw new UsageError(
      '--for: write a time such as 5m; --credentials, --token-seconds: a number',
    );
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  const log = (line: string) => console.error(line);
  return { milliseconds, credentials, tokenSeconds, grant, provider, log, signal: ended.signal };
}

const isGrant = (text: string): text is Grant => /^(password|client_credentials)$/.test(text);
const isProvider = (text: string): text is ProviderName => Object.hasOwn(PROVIDERS, text);

function durationOf(text: string): number {
  const [, amount, unit] = /^(\d+)(s|m)$/.exec(text) ?? [];
  return Number(amount) * (unit === 'm' ? 60_000 : 1_000);
}
