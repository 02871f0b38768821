import { parse } from 'yaml';
import type { Resource } from '../kubernetes/resources.ts';
import { listAt, member, numberAt, objectOf, textAt } from '../lib/json.ts';
import {
  BUILT_IN_ENVIRONMENTS,
  type Environment,
  type Environments,
} from '../oauth/environment.ts';
import type { Context } from './context.ts';
import { ifAllowed } from './exit-code.ts';
import type { Host } from './host.ts';
import { mountedConfigMaps, OPERATOR_LABELS, operatorNamespaceOf } from './operator-pods.ts';

/** What commands need of the operator's configuration. Problems with it are for the operator to tell. */
export interface OperatorConfig {
  readonly environments: Environments;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly selector: string;
  readonly requestsPerSecond: number;
  /** ClusterConvercusCredentials are served, with credentials Secrets in that namespace; undefined: in its own. */
  readonly clusterCredentials: {
    readonly enabled: boolean;
    readonly namespace: string | undefined;
  };
  readonly leaderElection: {
    readonly enabled: boolean;
    /** Of the Lease; undefined: that of the operator. */
    readonly namespace: string | undefined;
  };
}

const DEFAULT_RATE = 5;

/** Undefined for what is no YAML. */
export function operatorConfigFrom(yaml: string): OperatorConfig | undefined {
  let file: unknown;
  try {
    file = parse(yaml);
  } catch {
    return undefined;
  }
  return configFrom(file);
}

function configFrom(file: unknown): OperatorConfig {
  return {
    environments: environmentsFrom(member(file, 'environments')),
    namespaces: listAt(file, 'watch', 'namespaces').filter((each) => typeof each === 'string'),
    selector: textAt(file, 'watch', 'selector') ?? '',
    requestsPerSecond: numberAt(file, 'tokenHosts', 'requestsPerSecond') ?? DEFAULT_RATE,
    clusterCredentials: {
      enabled: member(file, 'clusterCredentials', 'enabled') === true,
      namespace: textAt(file, 'clusterCredentials', 'namespace') || undefined,
    },
    leaderElection: {
      enabled: member(file, 'leaderElection', 'enabled') !== false,
      namespace: textAt(file, 'leaderElection', 'namespace') || undefined,
    },
  };
}

export const DEFAULT_CONFIG: OperatorConfig = configFrom({});

/** Keys of a built-in environment are replaced one by one, as the operator does it. */
function environmentsFrom(written: unknown): Environments {
  const known = new Map(BUILT_IN_ENVIRONMENTS.map((each) => [each.name, each]));
  for (const name of Object.keys(objectOf(written))) {
    known.set(name, environmentFrom(name, member(written, name), known.get(name)));
  }
  return known;
}

function environmentFrom(
  name: string,
  written: unknown,
  builtIn: Environment | undefined,
): Environment {
  const text = (key: 'realm' | 'tokenUrl' | 'loginUrl' | 'apiUrl' | 'caFile'): string =>
    textAt(written, key) ?? builtIn?.[key] ?? '';
  const apiUrl = text('apiUrl').replace(/\/+$/, '');
  return {
    name,
    realm: text('realm'),
    tokenUrl: text('tokenUrl'),
    loginUrl: text('loginUrl') || `${apiUrl}/auth/login`,
    apiUrl,
    insecureHttp: member(written, 'insecureHttp') === true,
    caFile: text('caFile'),
  };
}

const CONFIG_MAPS: Resource = { apiVersion: 'v1', plural: 'configmaps' };

/** Of the first release that is found; undefined when there is no configuration that the person may read. */
export const readOperatorConfig = async (context: Context): Promise<OperatorConfig | undefined> =>
  (await readOperatorConfigs(context))[0];

/** From the ConfigMaps of the operator's namespace, one for each release. */
export async function readOperatorConfigs(context: Context): Promise<readonly OperatorConfig[]> {
  const namespace = await operatorNamespaceOf(context);
  const written = (await writtenConfigs(context, namespace)) ?? [];
  return written.flatMap(({ name, text }) => {
    const config = operatorConfigFrom(text);
    if (config === undefined) warnOnce(context, `ConfigMap "${name}" in namespace "${namespace}"`);
    return config === undefined ? [] : [config];
  });
}

interface WrittenConfig {
  /** Of the ConfigMap. */
  readonly name: string;
  readonly text: string;
}

/**
 * As they are written; undefined when the person may not read them. Those that no pod mounts are left out: kustomize gives
 * a changed one another name, and the former stays.
 */
export async function writtenConfigs(
  context: Context,
  namespace: string,
): Promise<readonly WrittenConfig[] | undefined> {
  const maps = await ifAllowed(context.cluster.list(CONFIG_MAPS, namespace, OPERATOR_LABELS));
  const found = maps?.flatMap((map) => {
    const text = textAt(map, 'data', 'config.yaml');
    return text === undefined ? [] : [{ name: textAt(map, 'metadata', 'name') ?? '', text }];
  });
  if (found === undefined || found.length < 2) return found;
  const mounted = await mountedConfigMaps(context, namespace);
  const inUse = found.filter(({ name }) => mounted.has(name));
  return inUse.length > 0 ? inUse : found;
}

/** Commands that wait read the configuration again and again. */
const warned = new WeakSet<Host>();

function warnOnce({ host }: Context, what: string): void {
  if (!warned.has(host)) {
    host.err(
      `Warning: config.yaml of ${what} is no YAML and is left out; the operator does not start with it\n`,
    );
  }
  warned.add(host);
}

/** Where the credentials Secrets of ClusterConvercusCredentials are. */
export async function credentialsNamespaceOf(
  context: Context,
  known?: OperatorConfig,
): Promise<string> {
  const config = known ?? (await readOperatorConfig(context));
  return config?.clusterCredentials.namespace ?? operatorNamespaceOf(context);
}

/** Of the operator to each token host; 0 for no limit. */
export const requestsPerSecond = async (context: Context): Promise<number> =>
  ((await readOperatorConfig(context)) ?? DEFAULT_CONFIG).requestsPerSecond;
