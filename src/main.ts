import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createHttpClient } from './adapters/http/http-client.ts';
import { createTransport } from './adapters/kubernetes/transport.ts';
import { startOperationsServer } from './adapters/operations-server.ts';
import { systemClock as clock } from './adapters/system-clock.ts';
import { createLog } from './adapters/telemetry/logger.ts';
import { createMetrics } from './adapters/telemetry/metrics.ts';
import { type Arguments, fromEnvironment, parseArguments, readVersion } from './command-line.ts';
import { type Config, parseConfig } from './config.ts';
import { runOperator } from './operator.ts';
import type { Log } from './ports.ts';
import { placeOf } from './term.ts';
import type { Readiness } from './watches.ts';

const CONFIGURATION_ERROR = 2;

/** 0 after a clean stop, 2 for a configuration error, 1 for anything else. */
async function main(args: Arguments): Promise<number> {
  if ('exit' in args) {
    (args.exit === 0 ? process.stdout : process.stderr).write(args.text);
    return args.exit;
  }
  const surroundings = fromEnvironment(process.env);
  const config = readConfig(args.config, surroundings.namespace);
  if (Array.isArray(config)) {
    const problems = config.map((problem) => `  - ${problem}\n`).join('');
    process.stderr.write(`The configuration ${args.config ?? ''} can't be used:\n${problems}`);
    return CONFIGURATION_ERROR;
  }
  return run(config, args.kubeconfig, surroundings);
}

function readConfig(path: string | undefined, namespace: string): Config | string[] {
  const readFile = (file: string) => readFileSync(file, 'utf8');
  try {
    return parseConfig(path === undefined ? undefined : readFile(path), { readFile, namespace });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
    return [`the file can't be read (${code})`];
  }
}

async function run(
  config: Config,
  kubeconfig: string | undefined,
  { identity, proxy }: ReturnType<typeof fromEnvironment>,
): Promise<number> {
  const log = createLog(config.log);
  const version = readVersion();
  const { workers, leaderElection } = config;
  const metrics = createMetrics({ version, workers, leaseName: leaderElection.name, clock });
  const readiness: Readiness = new Map();
  const operations = await startOperationsServer({
    ...config.operations,
    readiness: () => readiness,
    metrics,
  });
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  log.info('Starting', { version, identity, port: operations.port });
  warnOfPlainHttp(config, log);
  try {
    const userAgent = `convercus-operator/${version}`;
    const transport = createTransport({
      ...(kubeconfig === undefined ? {} : { kubeconfigPath: kubeconfig }),
      userAgent,
      onRequest: (...request) => metrics.apiRequest(...request),
    });
    const client = createHttpClient(connectionsFor(config, proxy));
    const digestKey = randomBytes(32).toString('base64');
    const real = { clock, random: Math.random, digestKey, transport, client };
    const known = { config, identity, userAgent, log, metrics, readiness, collectGarbage };
    await runOperator({ ...known, ...real }, stop.signal);
    return 0;
  } catch (error) {
    const kind = error instanceof Error ? error.name : typeof error;
    log.error('The operator ends because of an unforeseen error', { kind, at: placeOf(error) });
    return 1;
  } finally {
    await operations.close();
  }
}

/**
 * What a start leaves behind is as much as all that is kept, and V8 would let it lie for hours. Where Node runs with
 * `--expose-gc`, as in the image, it is collected down to the last page.
 */
function collectGarbage(): void {
  void globalThis.gc?.({ type: 'major', execution: 'async', flavor: 'last-resort' });
}

const connectionsFor = (
  { tokenHosts }: Config,
  proxy: ReturnType<typeof fromEnvironment>['proxy'],
) => ({
  timeouts: { connect: tokenHosts.connectTimeout, total: tokenHosts.timeout },
  perHost: tokenHosts.concurrency,
  clock,
  proxy,
});

function warnOfPlainHttp({ environments }: Config, log: Log): void {
  for (const { name, insecureHttp } of environments.values()) {
    if (insecureHttp) log.warn('Secrets may be sent over plain http://', { environment: name });
  }
}

process.exitCode = await main(parseArguments(process.argv.slice(2)));
