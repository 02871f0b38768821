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

/** Why there is no way to the API server, and what to do; undefined when a server is named. Nothing is asked of it. */
export function kubeconfigProblem(path: string | undefined): string | undefined {
  const isInCluster = path === undefined && existsSync(SERVICE_ACCOUNT_TOKEN);
  const name = path ?? (process.env['KUBECONFIG'] || '~/.kube/config');
  try {
    const config = loadKubeConfig(path);
    if (config.getCurrentContext() === MADE_UP) return NOWHERE;
    if (isInCluster) return isUrl(config.getCurrentCluster()?.server) ? undefined : NO_ADDRESS;
    return clusterProblem(config, `The kubeconfig ${name}`);
  } catch (error) {
    // Parsers quote what they read, so only the code of an error is told
    const code = textAt(error, 'code');
    if (code === undefined) return `The kubeconfig ${name} is no kubeconfig in YAML; ${OTHERWISE}`;
    return `The kubeconfig ${name} can't be read (${code}); ${OTHERWISE}`;
  }
}

const OTHERWISE = 'write the path of another to --kubeconfig or KUBECONFIG';
const NOWHERE =
  'There is no kubeconfig and no service account; write the path of a kubeconfig to --kubeconfig or KUBECONFIG, or run in a pod that mounts the token of its service account';
const NO_ADDRESS =
  'There is a service account, but KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT do not name the API server; set them, or write the path of a kubeconfig to --kubeconfig';

function clusterProblem(config: KubeConfig, kubeconfig: string): string | undefined {
  const cluster = config.getCurrentCluster();
  if (!cluster) {
    return `${kubeconfig} names no current cluster; choose one with kubectl config use-context`;
  }
  if (!isUrl(cluster.server))
    return `${kubeconfig} names a server that is no URL with http or https`;
  if (cluster.server.startsWith('http:') && !cluster.skipTLSVerify) {
    return `${kubeconfig} names a server with http, which is used only with insecure-skip-tls-verify: true`;
  }
  if (cluster.proxyUrl !== undefined && !isUrl(cluster.proxyUrl)) {
    return `${kubeconfig} names a proxy-url that is no URL with http or https`;
  }
  const problem = cluster.server.startsWith('https:') ? tlsProblem(config) : undefined;
  return problem && `${kubeconfig} ${problem}`;
}

/** `insecure-skip-tls-verify`: it does not matter which certificate the API server shows. */
export const skipsTlsVerify = (path: string | undefined): boolean =>
  loadKubeConfig(path).getCurrentCluster()?.skipTLSVerify === true;

const isUrl = (text: string | undefined): boolean =>
  text !== undefined && /^https?:/.test(text) && URL.canParse(text);
