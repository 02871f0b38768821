import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  type Arguments,
  environmentProblem,
  fromEnvironment,
  type ProcessEnvironment,
  parseArguments,
  readVersion,
} from './command-line.ts';
import { type Config, configText, parseConfig } from './config.ts';
import { apiServerOf, kubeconfigProblem, skipsTlsVerify } from './kubernetes/kubeconfig.ts';
import { createRestClient } from './kubernetes/rest-client.ts';
import type { Log } from './lib/log.ts';
import { systemClock as clock } from './lib/system-clock.ts';
import { createHttpClient } from './oauth/http-client.ts';
import { proxyProblems } from './oauth/proxy.ts';
import { runOperator } from './operator.ts';
import { Readiness } from './readiness.ts';
import {
  end,
  exitOnUnexpectedError,
  logOpenResources,
  logUnexpectedError,
  stopBySignal,
} from './shutdown.ts';
import { createLog } from './telemetry/logger.ts';
import { createMetrics, type Metrics } from './telemetry/metrics.ts';
import { type OperationsServer, startOperationsServer } from './telemetry/operations-server.ts';

const CONFIGURATION_ERROR = 2;

const logErrorsTo = exitOnUnexpectedError();

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
  const problems = [
    ...(Array.isArray(config) ? [told(config, args.config)] : []),
    environmentProblem(process.env),
    ...proxyProblems(environment.proxy),
    // Only the configuration is checked, which may be that of another place
    args.checkConfig ? undefined : kubeconfigProblem(args.kubeconfig),
  ].filter((problem) => problem !== undefined);
  if (Array.isArray(config) || problems.length > 0) {
    process.stderr.write(problems.map((problem) => `${problem}\n`).join(''));
    return CONFIGURATION_ERROR;
  }
  if (!args.checkConfig) return run(config, args.kubeconfig, environment);
  process.stdout.write(configText(config));
  return 0;
}

function readConfig(path: string | undefined, namespace: string | undefined): Config | string[] {
  const readFile = (file: string) => readFileSync(file, 'utf8');
  try {
    return parseConfig(path === undefined ? undefined : readFile(path), { readFile, namespace });
  } catch (error) {
    return [`the file can't be read (${codeOf(error)})`];
  }
}

const told = (problems: readonly string[], path = ''): string =>
  [`The configuration ${path} can't be used:`, ...problems.map((problem) => `  - ${problem}`)].join(
    '\n',
  );

async function run(
  config: Config,
  kubeconfig: string | undefined,
  environment: ProcessEnvironment,
): Promise<number> {
  const log = createLog(config.log);
  logErrorsTo(log);
  const stop = stopBySignal(log);
  const version = readVersion();
  const metrics = metricsFor(config, version);
  const readiness = new Readiness(clock);
  const operations = await listen(config, { readiness, metrics, log });
  if (operations === undefined) return 1;
  const { port, probePort } = operations;
  const { identity } = environment;
  const apiServer = apiServerOf(kubeconfig);
  log.info('Starting', { version, identity, apiServer, ...shown(config), port, probePort });
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

function metricsFor({ workers, leaderElection, metrics }: Config, version: string): Metrics {
  return createMetrics({ version, workers, leaseName: leaderElection.name, ...metrics, clock });
}

/** What is served. */
function shown({ watch: { namespaces, selector }, clusterCredentials, environments }: Config) {
  const scope = namespaces.length === 0 ? 'the cluster' : namespaces.join(', ');
  return {
    scope: selector === '' ? scope : `${scope}; ${selector}`,
    environments: [...environments.keys()].join(', '),
    ...(clusterCredentials.enabled && { clusterCredentials: clusterCredentials.namespace }),
  };
}

async function listen(
  { operations }: Config,
  { readiness, metrics, log }: { readiness: Readiness; metrics: Metrics; log: Log },
): Promise<OperationsServer | undefined> {
  try {
    return await startOperationsServer({
      ...operations,
      readiness: () => readiness.results,
      metrics,
    });
  } catch (error) {
    log.error("The operator can't listen on an address of operations", {
      ...operations,
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
  newReconcileID: randomUUID,
  ...(config.log.audit && { audit: createLog({ ...config.log, level: 'info' }) }),
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

await end(await main(parseArguments(process.argv.slice(2))));
