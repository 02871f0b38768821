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
import { OPERATOR_LABELS, operatorNamespaceOf } from './operator-pods.ts';

/** What commands need of the operator's configuration. Problems with it are for the operator to tell. */
export interface OperatorConfig {
  readonly environments: Environments;
  /** Empty: all. */
  readonly namespaces: readonly string[];
  readonly selector: string;
  readonly requestsPerSecond: number;
  readonly leaseName: string | undefined;
  /** ClusterConvercusCredentials are served, with credentials Secrets in that namespace; undefined: in its own. */
  readonly clusterCredentials: {
    readonly enabled: boolean;
    readonly namespace: string | undefined;
  };
}

const DEFAULT_RATE = 5;

export function operatorConfigFrom(yaml: string): OperatorConfig {
  const file: unknown = parse(yaml);
  return {
    environments: environmentsFrom(member(file, 'environments')),
    namespaces: listAt(file, 'watch', 'namespaces').filter((each) => typeof each === 'string'),
    selector: textAt(file, 'watch', 'selector') ?? '',
    requestsPerSecond: numberAt(file, 'tokenHosts', 'requestsPerSecond') ?? DEFAULT_RATE,
    leaseName: textAt(file, 'leaderElection', 'name'),
    clusterCredentials: {
      enabled: member(file, 'clusterCredentials', 'enabled') === true,
      namespace: textAt(file, 'clusterCredentials', 'namespace') || undefined,
    },
  };
}

export const DEFAULT_CONFIG: OperatorConfig = operatorConfigFrom('{}');

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

export const CONFIG_MAPS: Resource = { apiVersion: 'v1', plural: 'configmaps' };

/** From the ConfigMaps of the operator's namespace; undefined when there is none that the person may read. */
export async function readOperatorConfig(context: Context): Promise<OperatorConfig | undefined> {
  const namespace = await operatorNamespaceOf(context);
  const maps = await ifAllowed(context.cluster.list(CONFIG_MAPS, namespace, OPERATOR_LABELS));
  const text = (maps ?? [])
    .map((map) => textAt(map, 'data', 'config.yaml'))
    .find((each) => each !== undefined);
  return text === undefined ? undefined : operatorConfigFrom(text);
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
