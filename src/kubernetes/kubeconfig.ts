import { existsSync } from 'node:fs';
import { KubeConfig } from '@kubernetes/client-node';
import { textAt } from '../lib/json.ts';
import { tlsProblem } from './kubeconfig-tls.ts';

const SERVICE_ACCOUNT_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token';
/** What the library calls the context that it makes up when it finds no kubeconfig: http://localhost:8080. */
const MADE_UP = 'loaded-context';

/** Given a path, that kubeconfig; else the service account of the pod; else `KUBECONFIG` or `~/.kube/config`. */
export function loadKubeConfig(path: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (path !== undefined) config.loadFromFile(path);
  else if (existsSync(SERVICE_ACCOUNT_TOKEN)) config.loadFromCluster();
  else config.loadFromDefault();
  return config;
}

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
  const isInCluster = path === undefined && existsSync(SERVICE_ACCOUNT_TOKEN);
  const name = nameOf(path);
  try {
    const config = loadKubeConfig(path);
    if (config.getCurrentContext() === MADE_UP) return NOWHERE;
    if (isInCluster) return isUrl(config.getCurrentCluster()?.server) ? undefined : NO_ADDRESS;
    const problems = [loginProblem(config, mayStartProcesses), clusterProblem(config)];
    return problems.map((problem) => problem && `The kubeconfig ${name} ${problem}`).find(Boolean);
  } catch (error) {
    // Parsers quote what they read, so only the code of an error is told
    const code = textAt(error, 'code');
    if (code === undefined) return `The kubeconfig ${name} is no kubeconfig in YAML; ${OTHERWISE}`;
    return `The kubeconfig ${name} can't be read (${code}); ${OTHERWISE}`;
  }
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
  const isByCommand = [user?.exec, exec, command].some((it) => it !== undefined);
  return isByCommand && !mayStartProcesses ? NO_COMMAND : undefined;
}

function clusterProblem(config: KubeConfig): string | undefined {
  const cluster = config.getCurrentCluster();
  if (!cluster) {
    return 'names no current cluster; choose one with kubectl config use-context';
  }
  if (!isUrl(cluster.server)) return 'names a server that is no URL with http or https';
  if (cluster.server.startsWith('http:') && !cluster.skipTLSVerify) {
    return 'names a server with http, which is used only with insecure-skip-tls-verify: true';
  }
  if (cluster.proxyUrl !== undefined && !isUrl(cluster.proxyUrl)) {
    return 'names a proxy-url that is no URL with http or https';
  }
  return cluster.server.startsWith('https:') ? tlsProblem(config) : undefined;
}

/** `insecure-skip-tls-verify`: it does not matter which certificate the API server shows. */
export const skipsTlsVerify = (path: string | undefined): boolean =>
  loadKubeConfig(path).getCurrentCluster()?.skipTLSVerify === true;

const isUrl = (text: string | undefined): boolean =>
  text !== undefined && /^https?:/.test(text) && URL.canParse(text);
