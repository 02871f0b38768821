import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import {
  type Arguments,
  fromEnvironment,
  type ProcessEnvironment,
  parseArguments,
  readVersion,
} from './command-line.ts';
import { type Config, parseConfig } from './config.ts';
import type { Readiness } from './informers.ts';
import { kubeconfigProblem, skipsTlsVerify } from './kubernetes/kubeconfig.ts';
import { createRestClient } from './kubernetes/rest-client.ts';
import type { Log } from './lib/log.ts';
import { stackFramesOf } from './lib/stack-frames.ts';
import { systemClock as clock } from './lib/system-clock.ts';
import { seconds } from './lib/time.ts';
import { createHttpClient } from './oauth/http-client.ts';
import { runOperator } from './operator.ts';
import { createLog } from './telemetry/logger.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';
import { type OperationsServer, startOperationsServer } from './telemetry/operations-server.ts';

const CONFIGURATION_ERROR = 2;

/**
 * From the signal to a forced exit, in case of a bug: reconciles have 12 s (DRAIN_TIMEOUT), the Lease 3 s (RELEASE), a
 * scrape 1 s (CLOSING_TIME) and the log 2 s (FLUSH), and Kubernetes kills after 30 s.
 */
const STOP_DEADLINE = seconds(20);
const FLUSH = seconds(2);

const TLS_NOT_VERIFIED =
  'The certificate of the API server is not verified, so Secrets may be sent to another server; remove insecure-skip-tls-verify from the kubeconfig';

/** Returns the exit code: 0 after a clean stop, 2 for a configuration error, 1 for anything else. */
async function main(args: Arguments): Promise<number> {
  if ('exit' in args) {
    (args.exit === 0 ? process.stdout : process.stderr).write(args.text);
    return args.exit;
  }
  const environment = fromEnvironment(process.env);
  const config = readConfig(args.config, environment.namespace);
  const noServer = kubeconfigProblem(args.kubeconfig);
  if (Array.isArray(config)) {
    const problems = config.map((problem) => `  - ${problem}\n`).join('');
    process.stderr.write(`The configuration ${args.config ?? ''} can't be used:\n${problems}`);
  }
  if (noServer !== undefined) process.stderr.write(`${noServer}\n`);
  if (Array.isArray(config) || noServer !== undefined) return CONFIGURATION_ERROR;
  return run(config, args.kubeconfig, environment);
}

function readConfig(path: string | undefined, namespace: string): Config | string[] {
  const readFile = (file: string) => readFileSync(file, 'utf8');
  try {
    return parseConfig(path === undefined ? undefined : readFile(path), { readFile, namespace });
  } catch (error) {
    return [`the file can't be read (${codeOf(error)})`];
  }
}

async function run(
  config: Config,
  kubeconfig: string | undefined,
  environment: ProcessEnvironment,
): Promise<number> {
  const log = createLog(config.log);
  const stop = stopBySignal(log);
  exitOnUnexpectedError(log);
  const version = readVersion();
  const { workers, leaderElection } = config;
  const metrics = createMetrics({ version, workers, leaseName: leaderElection.name, clock });
  const readiness: Readiness = new Map();
  const operations = await listen(config, { readiness, metrics, log });
  if (operations === undefined) return 1;
  log.info('Starting', { version, identity: environment.identity, port: operations.port });
  warnOfPlainHttp(config, log);
  if (skipsTlsVerify(kubeconfig)) log.warn(TLS_NOT_VERIFIED);
  const userAgent = `convercus-operator/${version}`;
  const known = { config, userAgent, log, metrics, readiness };
  try {
    await runOperator({ ...known, ...realParts(known, kubeconfig, environment) }, stop.signal);
    return 0;
  } catch (error) {
    logUnexpectedError(log, error);
    return 1;
  } finally {
    await operations.close();
    stop.cancelStopDeadline();
    await logOpenResources(log);
  }
}

/** A second signal changes nothing. */
function stopBySignal(log: Log) {
  const stop = new AbortController();
  let cancelStopDeadline = (): void => undefined;
  const begin = (signal: string): void => {
    if (stop.signal.aborted) return;
    log.info('Stopping', { signal });
    cancelStopDeadline = clock.after(STOP_DEADLINE, () => {
      log.error('The stop takes too long and is cut', { open: openResources() });
      void end(1);
    });
    stop.abort();
  };
  process.on('SIGTERM', begin).on('SIGINT', begin);
  return { signal: stop.signal, cancelStopDeadline: () => cancelStopDeadline() };
}

/** After a bug the state is unknown, so the process ends at once. */
function exitOnUnexpectedError(log: Log): void {
  let isEnding = false;
  const endBy = (error: unknown): void => {
    if (isEnding) return;
    isEnding = true;
    logUnexpectedError(log, error);
    void end(1);
  };
  process.on('uncaughtException', endBy).on('unhandledRejection', endBy);
}

/** The message of an unforeseen error may hold a secret, so only its class and place are logged. */
function logUnexpectedError(log: Log, error: unknown): void {
  const kind = error instanceof Error ? error.name : typeof error;
  log.error('The operator ends because of an unforeseen error', {
    kind,
    at: stackFramesOf(error),
  });
}

async function listen(
  { operations: { host, port } }: Config,
  { readiness, metrics, log }: { readiness: Readiness; metrics: Metrics; log: Log },
): Promise<OperationsServer | undefined> {
  try {
    return await startOperationsServer({ host, port, readiness: () => readiness, metrics });
  } catch (error) {
    log.error("The operator can't listen on the address of operations", {
      host,
      port,
      code: codeOf(error),
    });
    return undefined;
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';

/** The parts that the simulation replaces. */
const realParts = (
  { config, userAgent, metrics }: { config: Config; userAgent: string; metrics: Metrics },
  kubeconfig: string | undefined,
  { identity, proxy }: ProcessEnvironment,
) => ({
  identity,
  clock,
  random: Math.random,
  digestKey: randomBytes(32).toString('base64'),
  restClient: createRestClient({
    ...(kubeconfig === undefined ? {} : { kubeconfigPath: kubeconfig }),
    userAgent,
    onRequest: (...request) => metrics.apiRequest(...request),
  }),
  client: createHttpClient({
    timeouts: { connect: config.tokenHosts.connectTimeout, total: config.tokenHosts.timeout },
    perHost: config.tokenHosts.concurrency,
    clock,
    proxy,
  }),
});

function warnOfPlainHttp({ environments }: Config, log: Log): void {
  for (const { name, insecureHttp } of environments.values()) {
    if (insecureHttp) log.warn('Secrets may be sent over plain http://', { environment: name });
  }
}

/** Logs what would keep the process alive: a hanging plugin of the kubeconfig, or a bug. */
async function logOpenResources(log: Log): Promise<void> {
  // A closed resource is gone a few turns of the event loop later
  for (let turn = 0; turn < 10 && openResources() !== ''; turn += 1) await setImmediate();
  const open = openResources();
  if (open !== '') log.debug('Still open at the end', { open });
}

const openResources = (): string => process.getActiveResourcesInfo().join(', ');

/** Ends the process, whatever is open, once the log is written or FLUSH has passed. */
async function end(code: number): Promise<never> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  return process.exit(code);
}

const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    clock.after(FLUSH, resolve);
    stream.write('', () => resolve());
  });

await end(await main(parseArguments(process.argv.slice(2))));
