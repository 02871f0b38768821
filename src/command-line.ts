import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';

interface Options {
  readonly config?: string;
  readonly kubeconfig?: string;
  /** Only print the configuration. */
  readonly checkConfig?: boolean;
}

export type Arguments =
  | Options
  /** Nothing is run: `text` goes to standard output for 0 and to standard error for 2. */
  | { readonly exit: 0 | 2; readonly text: string };

export const readVersion = (): string =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8')).version;

const MORE_HELP = `
Environment variables:
  POD_NAME                      name of this replica; default: HOSTNAME and random characters
  POD_NAMESPACE                 namespace of the Lease and of cluster credentials; default: that of the service account
  KUBECONFIG                    used without --kubeconfig and outside of a pod
  HTTPS_PROXY, NO_PROXY         proxy for token hosts, and hosts without it
  NODE_EXTRA_CA_CERTS           PEM file with certificates that are trusted as well, for all connections
  NODE_TLS_REJECT_UNAUTHORIZED  0 is refused

Exit codes:
  0  stopped by SIGTERM or SIGINT, or nothing is wrong with the configuration
  1  an unforeseen error, or an address to listen on is taken
  2  wrong arguments, configuration, environment variables or kubeconfig

Addresses, by default on port 8080 of every interface (operations.port, operations.probePort):
  /metrics           Prometheus text
  /livez, /readyz    200 or 503 with what is wrong; ?verbose names every check
`;

/** @param argv what follows the name of the program */
export function parseArguments(argv: readonly string[]): Arguments {
  let text = '';
  const write = (piece: string): void => {
    text += piece;
  };
  const command = new Command('convercus-operator')
    .description('Keeps Convercus API access tokens fresh in Kubernetes Secrets.')
    .option('--config <file>', 'configuration file (YAML); the defaults hold without one')
    .option(
      '--kubeconfig <file>',
      'kubeconfig; default: in-cluster, else KUBECONFIG, else ~/.kube/config',
    )
    .option('--check-config', 'print the effective configuration and exit')
    .version(readVersion(), '--version', 'show the version')
    .helpOption('--help', 'show this help')
    .addHelpText('after', MORE_HELP)
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: write, writeErr: write });
  try {
    return command.parse(argv, { from: 'user' }).opts<Options>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { exit: error.exitCode === 0 ? 0 : 2, text };
  }
}

export interface ProcessEnvironment {
  /** The namespace that the operator runs in, if it is known. */
  readonly namespace: string | undefined;
  /** Unique among all replicas. */
  readonly identity: string;
  /** Proxy for the token hosts, and which hosts to reach without it; empty for none. */
  readonly proxy: { readonly https: string; readonly except: string };
}

const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

type Variables = Readonly<Record<string, string | undefined>>;

/** Reads the environment variables. Those of the proxy count in upper and lower case. */
export function fromEnvironment(
  env: Variables,
  readFile: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): ProcessEnvironment {
  const either = (name: string): string => env[name] || env[name.toLowerCase()] || '';
  return {
    namespace: env['POD_NAMESPACE'] || contentOf(NAMESPACE_FILE, readFile) || undefined,
    identity: identityFrom(env),
    proxy: { https: either('HTTPS_PROXY'), except: either('NO_PROXY') },
  };
}

/** What is wrong with the environment variables, and what to do. */
export function environmentProblem(env: Variables): string | undefined {
  if (env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return undefined;
  return 'NODE_TLS_REJECT_UNAUTHORIZED=0 would send secrets to any server in between; remove it, and write the certificate of the authority to caFile of the environment or to NODE_EXTRA_CA_CERTS';
}

/** The name of a pod is unique. That of a host is not, because two replicas may run on one. */
function identityFrom(env: Variables): string {
  return env['POD_NAME'] || `${env['HOSTNAME'] || 'convercus-operator'}_${randomUUID()}`;
}

function contentOf(path: string, readFile: (path: string) => string): string {
  try {
    return readFile(path).trim();
  } catch {
    return '';
  }
}
