import { existsSync } from 'node:fs';
import { delimiter } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { textAt } from '../lib/json.ts';
import { tlsProblem } from './kubeconfig-tls.ts';

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** What the library calls the context that it makes up when it finds no kubeconfig: http://localhost:8080. */
const MADE_UP = 'loaded-context';
/** And the one for the service account of a pod. */
const IN_CLUSTER = 'inClusterContext';

/** Given a path, that kubeconfig; else the service account of the pod; else `KUBECONFIG` or `~/.kube/config`. */
export function loadKubeConfig(path: string | undefined): KubeConfig {
  if (path !== undefined) return fromFile(path);
  if (!existsSync(SERVICE_ACCOUNT_TOKEN)) return loadDefaultKubeConfig();
  const config = new KubeConfig();
  config.loadFromCluster();
  return config;
}

/** As kubectl: `KUBECONFIG` or `~/.kube/config` also inside of a pod, and the service account only without them. */
export function loadDefaultKubeConfig(): KubeConfig {
  const files = (process.env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '');
  const [first] = files;
  if (first === undefined) {
    const config = new KubeConfig();
    config.loadFromDefault();
    return config;
  }
  // Files that do not exist yet are left out, as kubectl does it, but one has to be there
  const found = files.filter((file) => existsSync(file));
  return merged((found.length === 0 ? [first] : found).map(fromFile));
}

function fromFile(path: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(path);
  return config;
}

/** Of several files the first that names something is right; `mergeConfig` of the library refuses a name that occurs twice. */
function merged(configs: readonly KubeConfig[]): KubeConfig {
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: firstOfEachName(configs.flatMap(({ clusters }) => clusters)),
    users: firstOfEachName(configs.flatMap(({ users }) => users)),
    contexts: firstOfEachName(configs.flatMap(({ contexts }) => contexts)),
    currentContext: configs.map(({ currentContext }) => currentContext).find(Boolean),
  });
  return config;
}

const firstOfEachName = <T extends { readonly name: string }>(all: readonly T[]): T[] =>
  all.filter(({ name }, at) => all.findIndex((each) => each.name === name) === at);

/** Where the API server is; for a kubeconfig in which `kubeconfigProblem` finds nothing. */
export const apiServerOf = (path: string | undefined): string =>
  new URL(loadKubeConfig(path).getCurrentCluster()?.server ?? '').origin;

const isAllowedToStartProcesses = (): boolean => process.permission?.has('child') ?? true;

/**
 * Why there is no way to the API server, and what to do; undefined when a server is named. Nothing is asked of it.
 * @param mayStartProcesses not under Node's `--permission`, with which the image runs
 */
export function kubeconfigProblem(
  path: string | undefined,
  mayStartProcesses = isAllowedToStartProcesses(),
): string | undefined {
  try {
    return problemOf(loadKubeConfig(path), path, mayStartProcesses);
  } catch (error) {
    return readProblem(error, path);
  }
}

/**
 * The same of one that is loaded, and whose context is chosen.
 * @param path for the words; undefined for the one of the environment
 */
export function problemOf(
  config: KubeConfig,
  path: string | undefined,
  mayStartProcesses = isAllowedToStartProcesses(),
): string | undefined {
  const context = config.getCurrentContext();
  if (context === MADE_UP) return NOWHERE;
  if (context === IN_CLUSTER) {
    return isUrl(config.getCurrentCluster()?.server) ? undefined : NO_ADDRESS;
  }
  const problems = [loginProblem(config, mayStartProcesses), clusterProblem(config)];
  return problems
    .map((problem) => problem && `The kubeconfig ${nameOf(path)} ${problem}`)
    .find(Boolean);
}

/** What an error of `loadKubeConfig` means. Parsers quote what they read, so only the code of an error is told. */
export function readProblem(error: unknown, path: string | undefined): string {
  const code = textAt(error, 'code');
  return code === undefined
    ? `The kubeconfig ${nameOf(path)} is no kubeconfig in YAML; ${OTHERWISE}`
    : `The kubeconfig ${nameOf(path)} can't be read (${code}); ${OTHERWISE}`;
}

const nameOf = (path: string | undefined): string =>
  path ?? (process.env['KUBECONFIG'] || '~/.kube/config');

const OTHERWISE = 'write the path of another to --kubeconfig or KUBECONFIG';
const NOWHERE =
  'There is no kubeconfig and no service account; write the path of a kubeconfig to --kubeconfig or KUBECONFIG, or run in a pod that mounts the token of its service account';
const NO_ADDRESS =
  'There is a service account, but KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not name the API server; set them, or write the path of a kubeconfig to --kubeconfig';

const NO_COMMAND =
  'logs in by a command, which Node may not start with --permission, as in the image; use a token or a client certificate, or run Node without --permission';

/** A command may also be the `cmd-path` of an auth provider, which came before `exec`. */
function loginProblem(config: KubeConfig, mayStartProcesses: boolean): string | undefined {
  const user = config.getCurrentUser();
  const { exec, 'cmd-path': command } = Object(user?.authProvider?.config);
  const isByCommand = [user?.exec, exec, command].some(Boolean); // null for a user without anything
  return isByCommand && !mayStartProcesses ? NO_COMMAND : undefined;
}

function clusterProblem(config: KubeConfig): string | undefined {
  const cluster = config.getCurrentCluster();
  if (!cluster) return noCluster(config);
  if (!isUrl(cluster.server)) return 'names a server that is no URL with http or https';
  if (cluster.server.startsWith('http:') && !cluster.skipTLSVerify) {
    return 'names a server with http, which is used only with insecure-skip-tls-verify: true';
  }
  if (cluster.proxyUrl !== undefined && !isUrl(cluster.proxyUrl)) {
    return 'names a proxy-url that is no URL with http or https';
  }
  return cluster.server.startsWith('https:') ? tlsProblem(config) : undefined;
}

function noCluster(config: KubeConfig): string {
  const context = config.getContextObject(config.getCurrentContext());
  return context?.cluster
    ? `has no cluster "${context.cluster}", which its context "${context.name}" names; choose another context`
    : 'names no current cluster; choose one with kubectl config use-context';
}

/** `insecure-skip-tls-verify`: it does not matter which certificate the API server shows. */
export const skipsTlsVerify = (path: string | undefined): boolean =>
  loadKubeConfig(path).getCurrentCluster()?.skipTLSVerify === true;

const isUrl = (text: string | undefined): boolean =>
  text !== undefined && /^https?:/.test(text) && URL.canParse(text);
