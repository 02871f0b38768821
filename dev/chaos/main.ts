/**
 * `npm run chaos -- --seed S --minutes M`: two operators with leader election against a real API server and the
 * identity provider, while servers fail and people edit. Needs no cluster: it starts API server, etcd and garbage
 * collector.
 *
 * The seed determines the schedule (`--dry-run` only prints it). Operators are killed, stopped and frozen. Their
 * connections to the API server are cut, held and delayed. The API server is killed and restarted with its data. The
 * identity provider is away, hangs, or loses responses. Targets are edited and deleted, credentials are deleted and
 * created again by the hundred, client secrets and passwords are rotated in both orders, sessions are lost, namespaces
 * and Secrets are replaced. Outages add up to at most 45 s in any 2 minutes (for tokens of 5 minutes, which are renewed
 * at half their lifetime), so no token has to expire.
 *
 * A ClusterConvercusCredential serves all namespaces with the token that some of the credentials share.
 *
 * A reader checks every target each second. At the end each finding is explained by a rule (`explain.ts` for targets,
 * `requests.ts` for requests to the provider) or unexplained:
 *
 * - seconds in which a target had no token, or an expired or broken one, or one of another credential or scope
 * - failed refreshes, logins after the first, sessions that no credential has
 * - credentials that are not ready 90 s after the last fault, or that still need a person; of the cluster credential
 *   namespaces without a valid token, and targets elsewhere
 * - exit codes and durations after SIGTERM; operators that ended without a signal
 * - secrets in logs, events, statuses and metrics
 *
 * Exits 1 when a finding is unexplained. The same seed gives the same schedule but not the same races, so a finding may
 * not occur again. `--keep-logs DIR` keeps the operators' logs, and the history as `seen.json`.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { missingForControlPlane } from '../envtest/binaries.ts';
import { table } from '../lab/report.ts';
import { populationOf } from './population.ts';
import { type Report, reportOf } from './report.ts';
import { Run } from './run.ts';
import { lineOf, mostAway, scheduleFor } from './schedule.ts';

const HELP = `npm run chaos -- [--seed N] [--minutes N] [--credentials N] [--token-seconds N] [--keep-logs DIR] [--dry-run]

  --seed N            makes the schedule (default 1)
  --minutes N         how long things happen (default 10); a start and an end of 1 or 2 minutes are added
  --credentials N     how many (default 84)
  --token-seconds N   lifetime of tokens (default 300)
  --keep-logs DIR     keeps the operators' logs and what happened there
  --dry-run           prints the schedule and ends (also --list)
  --json              prints the figures as JSON as well`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '10' },
    credentials: { type: 'string', default: '84' },
    'token-seconds': { type: 'string', default: '300' },
    'keep-logs': { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<number> {
  const [seed, minutes, credentials, tokenSeconds] = [
    values.seed,
    values.minutes,
    values.credentials,
    values['token-seconds'],
  ].map(Number);
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (!seed || !minutes || !credentials || !tokenSeconds) {
    console.error(HELP);
    return 2;
  }
  const members = populationOf(credentials);
  const events = scheduleFor({ seed, minutes, tokenSeconds, members });
  if (values['dry-run'] || values.list) {
    for (const event of events) console.log(lineOf(event));
    const away = mostAway(events, tokenSeconds) / 1_000;
    console.log(`${events.length} events; at most ${away.toFixed(1)} s away in any window`);
    return 0;
  }
  const missing = await missingForControlPlane();
  if (missing.length > 0) {
    console.error(missing.join('\n'));
    return 1;
  }
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  const setting = { members, events, tokenSeconds, log: console.log, signal: ended.signal };
  const report = await Run.play(setting, async (run) => {
    if (values['keep-logs'] !== undefined) await keepLogs(run, values['keep-logs']);
    return reportOf(run);
  });
  return tell(report, { seed, minutes, credentials: members.length, tokenSeconds });
}

function tell({ rows, unexplained }: Report, what: Readonly<Record<string, number>>): number {
  const title = Object.entries(what).map(([name, value]) => `${name} ${value}`);
  console.log(`\n${title.join(', ')}\n\n${table(rows)}\n`);
  for (const line of unexplained) console.log(`UNEXPLAINED ${line}`);
  if (values.json) console.log(JSON.stringify({ ...what, rows, unexplained }));
  console.log(`${unexplained.length} unexplained`);
  return unexplained.length === 0 && rows.every(({ met }) => met !== false) ? 0 : 1;
}

async function keepLogs(run: Run, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  for (const { name, operator } of run.replicas)
    await copyFile(operator.logFile, join(dir, `${name}.log`));
  const { start, done, outages, crashes, cuts, reader } = run;
  const { findings, holders } = reader;
  const requests = await run.provider.call('entries');
  const seen = { start, done, outages, crashes, cuts, holders, findings, requests };
  await writeFile(join(dir, 'seen.json'), JSON.stringify(seen));
}

process.exitCode = await main();
