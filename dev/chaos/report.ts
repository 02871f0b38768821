import type { Span } from '../lab/measures.ts';
import { atMost, exactly, type Row, rounded, row } from '../lab/report.ts';
import { leaks, openPlaces } from '../testbed/leaks.ts';
import { explain, type Finding, type History } from './explain.ts';
import type { Kind } from './judge.ts';
import { awaySpans, mostWithin, type Outage, union } from './outages.ts';
import {
  type Excess,
  type Explained,
  excessSessions,
  furtherLogins,
  refusedRefreshes,
  type Surroundings,
} from './requests.ts';
import type { Run } from './run.ts';
import { awayLimit, clockOf } from './schedule.ts';

/** The table at the end, with explained and unexplained counts. */

export interface Report {
  readonly rows: readonly Row[];
  /** One line for each unexplained finding. */
  readonly unexplained: readonly string[];
}

/** Limits the time of the search: only the latest tokens are searched for. */
const TOKENS_LOOKED_FOR = 400;
const SLOWEST_STOP = 25;
const KINDS: readonly Kind[] = ['expired', 'empty', 'broken', 'foreign', 'other-scope'];

export async function reportOf(run: Run): Promise<Report> {
  const entries = await run.provider.call('entries');
  const stalls = run.reader.stalls.map((span) => ({ of: 'api-server' as const, span }));
  const away = awaySpans([...run.outages, ...stalls]);
  const blind = awaySpans([...run.outages.map(untilSeen), ...stalls]);
  const around: Surroundings = {
    keys: new Map(run.setting.members.map(({ username, key }) => [username, key])),
    done: run.done,
    crashes: run.crashes,
    cuts: run.cuts,
    away: blind,
  };
  const refused = refusedRefreshes(entries, around);
  const sessionEnds = new Map(
    [...Map.groupBy(refused, ({ key }) => key)].map(([key, own]) => [key, own.map(({ at }) => at)]),
  );
  const history = { done: run.done, away: blind, sessionEnds };
  const lines: string[] = [];
  const excess = excessSessions(await sessionsTooMany(run), entries, around);
  const logins = furtherLogins(entries, around);
  const rows = [
    ...loadRows(run, away),
    ...KINDS.flatMap((kind) => findingRows(run, kind, history, lines)),
    ...explainedRows('refreshes refused', refused, run, lines),
    ...explainedRows('logins beyond the first', logins, run, lines),
    ...explainedRows('sessions that no credential needs', excess, run, lines),
    ...endRows(run, lines),
    ...(await leakRows(run, lines)),
  ];
  return { rows, unexplained: lines };
}

/** A lost watch is opened again after at most 30 s; edits are seen only then. */
const WATCH_RETRY = 30_000;

const untilSeen = ({ of, span: [from, to], ...rest }: Outage): Outage => {
  const more = of === 'provider' ? 0 : WATCH_RETRY;
  return { of, span: [from, to + more], ...rest };
};

function loadRows({ setting, done, reader, outages }: Run, away: readonly Span[]): Row[] {
  const { most, window } = awayLimit(setting.tokenSeconds);
  const seconds = (ms: number): number => rounded(ms / 1_000);
  return [
    row('credentials', setting.members.length),
    row('events carried out', done.length),
    row('outages', outages.length),
    row('looks at all targets', reader.looks),
    row('tokens and refresh tokens seen', reader.secrets.size),
    row(
      `seconds away within any ${seconds(window)} s, measured (planned at most ${seconds(most)})`,
      seconds(mostWithin(away, window)),
    ),
  ];
}

/** One row for each rule that explained a finding, and one for unexplained findings. */
function findingRows(run: Run, kind: Kind, history: History, lines: string[]): Row[] {
  const found = run.reader.findings.filter((finding) => finding.kind === kind);
  const byRule = Map.groupBy(found, (finding) => explain(finding, history) ?? '');
  const open = byRule.get('') ?? [];
  for (const [key, own] of Map.groupBy(open, (finding) => finding.key)) {
    lines.push(`${kind}: ${key}, ${own.length} s: ${textOf(own, run.start)}`);
  }
  const explained = [...byRule].filter(([rule]) => rule !== '');
  return [
    ...explained.map(([rule, own]) =>
      row(
        `${kind} seconds explained by: ${rule} (longest for one credential)`,
        `${own.length} (${longest(own)})`,
      ),
    ),
    row(`${kind} seconds unexplained`, open.length, exactly(0)),
  ];
}

/** The findings of one credential as spans; reads are about a second apart. */
function spansOf(findings: readonly Finding[]): Span[] {
  return union(findings.map(({ at }): Span => [at, at + 2_500]));
}

const textOf = (findings: readonly Finding[], start: number): string =>
  spansOf(findings)
    .map(([from, to]) => `${clockOf(from - start)} to ${clockOf(to - 2_500 - start)}`)
    .join(', ');

/** In seconds. */
function longest(findings: readonly Finding[]): number {
  const spans = [...Map.groupBy(findings, ({ key }) => key).values()].flatMap(spansOf);
  return Math.round(Math.max(...spans.map(([from, to]) => to - from - 1_500)) / 1_000);
}

function explainedRows(
  what: string,
  all: readonly Explained[],
  { start }: Run,
  lines: string[],
): Row[] {
  const byRule = Map.groupBy(all, ({ rule = '' }) => rule);
  const open = byRule.get('') ?? [];
  lines.push(...open.map(({ key, at }) => `${what}: ${key} at ${clockOf(at - start)}`));
  const explained = [...byRule].filter(([rule]) => rule !== '');
  return [
    ...explained.map(([rule, own]) => row(`${what}, explained by: ${rule}`, own.length)),
    row(`${what}, unexplained`, open.length, exactly(0)),
  ];
}

async function sessionsTooMany({ provider, reader, setting }: Run): Promise<Excess[]> {
  const before = reader.keptSessions();
  const realms = new Set(
    setting.members.filter(({ kind }) => kind === 'password').map(({ realm }) => realm),
  );
  const all = await Promise.all([...realms].map((realm) => provider.call('sessions', realm)));
  // A session may have been replaced since the reader looked last
  await reader.look();
  const kept = new Set([...before, ...reader.keptSessions()]);
  return all
    .flat()
    .filter(({ id }) => !kept.has(id))
    .map(({ id, username, started }) => ({ id, username, started: started * 1_000 }));
}

function endRows(run: Run, lines: string[]): Row[] {
  const notReady = run.notReady();
  const terminations = run.replicas.flatMap((replica) => replica.terminations);
  const failures = run.replicas.flatMap((replica) => replica.failures);
  const badExits = terminations.filter(({ code }) => code !== 0);
  lines.push(...notReady.map((key) => `not ready at the end: ${key}`), ...failures);
  lines.push(...run.clusterProblems.map((problem) => `at the end: ${problem}`));
  lines.push(
    ...badExits.map(({ replica, code }) => `${replica} ended with ${code} after a SIGTERM`),
    ...run.troubles.map((trouble) => `could not be done: ${trouble}`),
  );
  const slowest = Math.max(0, ...terminations.map(({ seconds }) => seconds));
  if (slowest > SLOWEST_STOP) lines.push(`a stop took ${rounded(slowest)} s`);
  return [
    row('credentials not ready, or stalled, at the end', notReady.length, exactly(0)),
    row('faults of the cluster credential at the end', run.clusterProblems.length, exactly(0)),
    row('stops by SIGTERM', terminations.length),
    row('stops whose exit code was not 0', badExits.length, exactly(0)),
    row('longest stop (s)', slowest, atMost(SLOWEST_STOP)),
    row('operators that ended by themselves', failures.length, exactly(0)),
    row('events that could not be carried out', run.troubles.length, exactly(0)),
  ];
}

async function leakRows(run: Run, lines: string[]): Promise<Row[]> {
  const places = await openPlaces(
    run.controlPlane,
    ...run.replicas.map(({ operator }) => operator),
  );
  const tokens = [...run.reader.secrets].slice(-TOKENS_LOOKED_FOR);
  const secrets = [...run.person.secrets, ...tokens].filter((value) => value.length > 20);
  const found = leaks(places, secrets);
  lines.push(...found.map(({ place }) => `a secret turned up in: ${place}`));
  return [
    row('secrets looked for', secrets.length),
    row('secrets that turned up elsewhere', found.length, exactly(0)),
  ];
}
