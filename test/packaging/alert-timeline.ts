import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promtool } from './render.ts';

/** Seconds. Scrapes and evaluations are made every 30 s, as the chart's ServiceMonitor and Prometheus do by default. */
export const STEP = 30;

export const minutes = (count: number): number => count * 60;

/** What one target shows under one name. */
export interface Series {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** @param at seconds since the start; undefined: the series is not in the scrape, or there was none */
  readonly value: (at: number) => number | undefined;
}

/** From, until: `mm:ss` or `h:mm:ss` since the start. An interval that lasts until the end has no `until`. */
export type Firing = readonly [from: string, until?: string];

/** What fired when, by the name of the alert and the labels that tell one alert from another. */
export type Timeline = Readonly<Record<string, readonly Firing[]>>;

const TOLD_APART = ['alertname', 'cluster', 'namespace', 'job', 'name', 'host', 'severity'];
const QUESTION = `count by (${TOLD_APART.join()}) (ALERTS{alertstate="firing"})`;

/**
 * Which alerts fire when, to the evaluation.
 *
 * promtool compares what it is told to expect with what it gets. Told to expect nothing, it prints what it gets.
 * @param until seconds
 */
export async function timeline(
  rules: string,
  series: readonly Series[],
  until: number,
): Promise<Timeline> {
  const times = Array.from({ length: Math.floor(until / STEP) + 1 }, (_, index) => index * STEP);
  const output = await withTestFile(testFile(rules, series, times), (file) =>
    promtool('test', 'rules', file).catch((failure: Error) => failure.message),
  );
  if (!/SUCCESS|FAILED/.test(output)) throw new Error(`promtool said: ${output}`);
  return intervals(firingAt(output), times);
}

/** The annotations of one alert at one time, each alert that fires beside the others. */
export async function annotations(
  rules: string,
  series: readonly Series[],
  alertname: string,
  at: number,
): Promise<string> {
  const times = Array.from({ length: Math.floor(at / STEP) + 1 }, (_, index) => index * STEP);
  const file = testFile(rules, series, times, [{ eval_time: `${at}s`, alertname, exp_alerts: [] }]);
  return withTestFile(file, (path) =>
    promtool('test', 'rules', path).catch((failure: Error) => failure.message),
  );
}

function testFile(
  rules: string,
  series: readonly Series[],
  times: readonly number[],
  alert_rule_test: readonly object[] = [],
): string {
  const questions = times.map((at) => ({
    expr: QUESTION,
    eval_time: `${at}s`,
    exp_samples: [],
  }));
  const test = {
    interval: `${STEP}s`,
    input_series: series.map((each) => ({ series: selector(each), values: values(each, times) })),
    alert_rule_test,
    promql_expr_test: alert_rule_test.length > 0 ? [] : questions,
  };
  return JSON.stringify({
    rule_files: [rules],
    evaluation_interval: `${STEP}s`,
    tests: [test],
  });
}

async function withTestFile<T>(content: string, use: (path: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'alerts-'));
  const path = join(folder, 'test.yaml');
  await writeFile(path, content);
  try {
    return await use(path);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function selector({ name, labels }: Series): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `${name}{${pairs.join()}}`;
}

/** A series that is gone from a scrape is marked as stale, as Prometheus marks it. */
function values({ value }: Series, times: readonly number[]): string {
  let isShown = false;
  const samples = times.map((at) => {
    const sample = value(at);
    const wasShown = isShown;
    isShown = sample !== undefined;
    return sample ?? (wasShown ? 'stale' : '_');
  });
  return samples.join(' ');
}

/** The alerts that fire, by time. */
function firingAt(output: string): Map<number, string[]> {
  const found = output.matchAll(/, time: (\S+),\n\s+exp: .*\n\s+got: (.*)/g);
  return new Map(Array.from(found, ([, time = '', got = '']) => [inSeconds(time), alerts(got)]));
}

const alerts = (got: string): string[] =>
  Array.from(got.matchAll(/\{([^}]*)\} \S+/g), ([, labels = '']) => nameOf(labels));

/** Such as `ConvercusTokenExpired critical east shop/loyalty`. */
function nameOf(text: string): string {
  const labels = Object.fromEntries(
    Array.from(text.matchAll(/(\w+)="([^"]*)"/g), ([, label = '', value = '']) => [label, value]),
  );
  const { alertname, severity, cluster, namespace, job, host, name } = labels;
  const credential = namespace === undefined ? name : `${namespace}/${name}`;
  const isOfCredential = name !== undefined && job === undefined;
  const object = isOfCredential ? credential : (job ?? host ?? namespace);
  return [alertname, severity, cluster, object].filter((part) => part !== undefined).join(' ');
}

function intervals(
  firing: ReadonlyMap<number, readonly string[]>,
  times: readonly number[],
): Timeline {
  const found: Record<string, [string, string?][]> = {};
  for (const [index, at] of times.entries()) {
    const now = firing.get(at) ?? [];
    const before = firing.get(times[index - 1] ?? -1) ?? [];
    for (const alert of now.filter((each) => !before.includes(each))) {
      (found[alert] ??= []).push([clock(at)]);
    }
    for (const alert of before.filter((each) => !now.includes(each))) {
      found[alert]?.at(-1)?.push(clock(at));
    }
  }
  return found;
}

/** Seconds of a Go duration, such as `1h2m30s`. */
function inSeconds(duration: string): number {
  const units: Readonly<Record<string, number>> = { d: 86_400, h: 3_600, m: 60, s: 1 };
  const parts = duration.matchAll(/(\d+)([dhms])/g);
  return Array.from(parts, ([, count, unit = '']) => Number(count) * (units[unit] ?? 0)).reduce(
    (sum, each) => sum + each,
    0,
  );
}

/** `mm:ss`, or `h:mm:ss` from one hour on. */
export function clock(at: number): string {
  const two = (count: number): string => String(Math.floor(count)).padStart(2, '0');
  const rest = `${two((at / 60) % 60)}:${two(at % 60)}`;
  return at < 3_600 ? rest : `${Math.floor(at / 3_600)}:${rest}`;
}
