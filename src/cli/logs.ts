import { instanceNameOf } from '../credential/cluster-name.ts';
import { ApiError } from '../kubernetes/api-error.ts';
import { isObject, textAt } from '../lib/json.ts';
import { cliErrorFrom } from './api-sentences.ts';
import type { Context } from './context.ts';
import { CliError, EXIT } from './exit-code.ts';
import { referenceFrom } from './kind.ts';
import { readOperatorConfig } from './operator-config.ts';
import {
  CONTAINER,
  isLeading,
  leaders,
  operatorNamespaceOf,
  operatorPods,
  PODS,
} from './operator-pods.ts';
import { plain, type Result } from './output.ts';

export interface LogsOptions {
  readonly follow?: boolean;
  /** Lines from the end of the log that are looked through. */
  readonly tail?: string;
}

/** `kubectl convercus logs [NAME]`: of the leader, all lines or those about one credential. */
export async function logs(
  context: Context,
  name: string | undefined,
  options: LogsOptions,
): Promise<Result> {
  const namespace = await operatorNamespaceOf(context);
  const pod = await leaderPod(context, namespace);
  const query = {
    container: CONTAINER,
    tailLines: options.tail ?? '1000',
    ...(options.follow === true ? { follow: 'true' } : {}),
  };
  try {
    for await (const line of context.cluster.podLog({ namespace, name: pod }, query)) {
      if (name === undefined || isAbout(line, context.namespace, name)) print(context, line);
    }
  } catch (error) {
    if (context.host.signal.aborted) return { data: undefined, text: '' };
    throw error instanceof ApiError ? unreadable(context, error, { namespace, pod }) : error;
  }
  return { data: undefined, text: '' };
}

async function leaderPod(context: Context, namespace: string): Promise<string> {
  const pods = (await operatorPods(context, namespace)) ?? [];
  const config = await readOperatorConfig(context);
  const found = await leaders(context, config?.leaderElection.namespace ?? namespace, pods);
  const leading = found?.find((each) => isLeading(each, context.host.now()));
  const pod =
    pods.find(({ name }) => name === leading?.holder) ??
    pods.find(({ isReady }) => isReady) ??
    pods[0];
  if (pod !== undefined) return pod.name;
  throw new CliError(
    EXIT.cluster,
    `There is no pod of the operator in namespace "${namespace}" that you may see; add --operator-namespace, or check: kubectl get pods -A -l app.kubernetes.io/name=convercus-operator`,
  );
}

function isAbout(line: unknown, namespace: string, text: string): boolean {
  const { isOfCluster, name } = referenceFrom(text);
  const [key = '', said] = [textAt(line, 'key'), textAt(line, 'name')];
  // In each of its namespaces, and the lines about its status
  if (isOfCluster) return key.endsWith(`/${instanceNameOf(name)}`) || said === instanceNameOf(name);
  return (
    key === `${namespace}/${name}` || (textAt(line, 'namespace') === namespace && said === name)
  );
}

function print({ host, format }: Context, line: unknown): void {
  host.out(`${format === 'text' ? textOf(line) : JSON.stringify(line)}\n`);
}

function textOf(line: unknown): string {
  if (!isObject(line)) return plain(String(line));
  const { timestamp, level, message, ...fields } = line;
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return plain(
    [timestamp, String(level).toUpperCase().padEnd(5), message, ...rest].join(' '),
    2_000,
  );
}

function unreadable(
  { cluster }: Context,
  error: ApiError,
  { namespace, pod }: { readonly namespace: string; readonly pod: string },
): CliError {
  if (error.reason === 'UnexpectedBody') {
    const text = `The log of pod "${pod}" is not in JSON (log.format of the operator); read it with: kubectl logs -n ${namespace} ${pod}`;
    return new CliError(EXIT.cluster, text);
  }
  const resource = { ...PODS, plural: 'pods/log' };
  return cliErrorFrom(error, { verb: 'get', resource, namespace, name: pod }, cluster.server);
}
