/**
 * `npm run soak -- SCENARIO`: one long run against real servers, and a table of what came of it, also as JSON.
 * Exits 0 only if every aim was met.
 */
import { parseArgs } from 'node:util';
import { missingForControlPlane } from '../envtest/binaries.ts';
import { missingForKeycloak } from '../keycloak/server/distribution.ts';
import type { Grant } from './soak/accounts.ts';
import type { ProviderName } from './soak/provider.ts';
import { type Row, table } from './soak/report.ts';
import { SCENARIOS, type Scenario } from './soak/scenarios.ts';
import type { Setting } from './soak/stage.ts';

const HELP = `npm run soak -- SCENARIO [--for 10m] [--credentials N] [--grant GRANT] [--provider PROVIDER]

${Object.entries(SCENARIOS)
  .map(([name, { about }]) => `  ${name.padEnd(16)}${about}`)
  .join('\n')}

  --for TIME          how long, such as 90s or 10m
  --credentials N     how many
  --token-seconds N   lifetime of an access token, for steady, kills, lost-sessions and rotation
  --grant GRANT       password (default) or client_credentials
  --provider NAME     keycloak (default; hanging-host: built-in) or built-in`;

const OPTIONS = {
  for: { type: 'string' },
  credentials: { type: 'string' },
  'token-seconds': { type: 'string' },
  grant: { type: 'string', default: 'password' },
  provider: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parse>['values'];
const parse = (args: string[]) => parseArgs({ args, options: OPTIONS, allowPositionals: true });

/** Resolves to the exit code. */
export async function soak(args: string[]): Promise<number> {
  const { values, positionals } = parse(args);
  const [name = ''] = positionals;
  const scenario = Object.hasOwn(SCENARIOS, name) ? SCENARIOS[name] : undefined;
  if (values.help || scenario === undefined) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const setting = settingFor(scenario, values);
  if (typeof setting === 'string') {
    console.error(setting);
    return 2;
  }
  const missing = [
    ...(await missingForControlPlane()),
    ...(setting.provider === 'keycloak' ? await missingForKeycloak() : []),
  ];
  if (missing.length > 0) {
    console.error(missing.join('\n'));
    return 1;
  }
  return report(name, setting, await scenario.play(setting));
}

/** The setting, or what is wrong with the command line. */
function settingFor(defaults: Scenario, values: Values): Setting | string {
  const milliseconds = durationOf(values.for ?? defaults.for);
  const credentials = Number(values.credentials ?? defaults.credentials);
  const tokenSeconds = Number(values['token-seconds'] ?? defaults.tokenSeconds ?? 0);
  const { grant, provider = defaults.provider ?? 'keycloak' } = values;
  if (!isGrant(grant)) return '--grant: write password or client_credentials';
  if (!isProvider(provider)) return '--provider: write keycloak or built-in';
  if (!(milliseconds > 0 && credentials > 0 && tokenSeconds >= 0))
    return '--for: write a time such as 60s or 5m; --credentials, --token-seconds: a number';
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  const log = (line: string) => console.error(line);
  return { milliseconds, credentials, tokenSeconds, grant, provider, log, signal: ended.signal };
}

const isGrant = (text: string): text is Grant =>
  text === 'password' || text === 'client_credentials';
const isProvider = (text: string): text is ProviderName =>
  text === 'keycloak' || text === 'built-in';

function durationOf(text: string): number {
  const [, amount, unit] = /^(\d+)(s|m)$/.exec(text) ?? [];
  return Number(amount) * (unit === 'm' ? 60_000 : 1_000);
}

function report(scenario: string, setting: Setting, rows: readonly Row[]): number {
  const { grant, provider, credentials, milliseconds } = setting;
  const what = { scenario, grant, provider, credentials, seconds: milliseconds / 1_000 };
  console.log(`\n${Object.values(what).join(', ')} s\n\n${table(rows)}\n`);
  console.log(JSON.stringify({ ...what, rows }));
  return rows.every(({ met }) => met !== false) ? 0 : 1;
}
