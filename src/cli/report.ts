import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import {
  CLUSTER_CREDENTIALS,
  CREDENTIALS,
  LEASES,
  type Resource,
} from '../kubernetes/resources.ts';
import { rfc3339 } from '../lib/time.ts';
import { type Context, scopeOf } from './context.ts';
import { CliError, EXIT, ifAllowed } from './exit-code.ts';
import { writtenConfigs } from './operator-config.ts';
import {
  CONTAINER,
  DEPLOYMENTS,
  OPERATOR_LABELS,
  operatorNamespaceOf,
  operatorPods,
  PODS,
} from './operator-pods.ts';
import type { Result } from './output.ts';
import {
  shareable,
  shareableCredential,
  shareableEvent,
  shareablePod,
  withoutTokens,
} from './shareable.ts';
import { cliVersion } from './version.ts';

export interface ReportOptions {
  /** A folder that does not exist yet. */
  readonly directory?: string;
  readonly yes?: boolean;
}

/** File names and their contents; a text in place of what the person may not read. */
type Files = ReadonlyMap<string, string>;

const EVENTS: Resource = { apiVersion: 'v1', plural: 'events' };
const MAX_LOG_LINES = '2000';

/** `kubectl convercus report`: a folder to send to the people who help. It reads no Secret. */
export async function report(context: Context, options: ReportOptions): Promise<Result> {
  const { host } = context;
  const stamp = rfc3339(host.now()).replaceAll(/[-:Z]/g, '').replace('T', '-');
  const directory = options.directory ?? `convercus-report-${stamp}`;
  const files = await collected(context);
  // What could not be read of a log is left out, also when Ctrl-C was the reason
  host.signal.throwIfAborted();
  const listed = [...files.keys()].map((name) => `  ${join(directory, name)}\n`).join('');
  host.err(`These files are written; no Secret was read for them:\n${listed}`);
  if (host.canAsk && options.yes !== true) {
    const answer = await host.ask('Write them? [y/N] ');
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError(EXIT.problem, 'Nothing was written');
  }
  await mkdir(directory, { mode: 0o700 }).catch(() => {
    throw new CliError(
      EXIT.usage,
      `The folder "${directory}" can't be created; name another with --directory`,
    );
  });
  for (const [name, text] of files) await writeFile(join(directory, name), text, { mode: 0o600 });
  return { data: { directory, files: [...files.keys()] }, text: directory };
}

async function collected(context: Context): Promise<Files> {
  const { cluster } = context;
  const scope = scopeOf(context);
  const namespace = await operatorNamespaceOf(context);
  const credentials = await ifAllowed(cluster.list(CREDENTIALS, scope));
  const ofCluster = await ifAllowed(cluster.list(CLUSTER_CREDENTIALS, undefined));
  const events = await ifAllowed(cluster.list(EVENTS, scope));
  const ofOperator = async (resource: Resource, labels = OPERATOR_LABELS) =>
    ifAllowed(cluster.list(resource, namespace, labels));
  const leases = await ifAllowed(cluster.list(LEASES, namespace));
  const configs = await writtenConfigs(context, namespace);
  return new Map([
    [
      'versions.yaml',
      stringify({
        cli: cliVersion(),
        node: process.version,
        collectedAt: rfc3339(context.host.now()),
        operatorNamespace: namespace,
      }),
    ],
    ['convercuscredentials.yaml', textOf(credentials?.map(shareableCredential))],
    ['clusterconvercuscredentials.yaml', textOf(ofCluster?.map(shareableCredential))],
    ['events.yaml', textOf(events?.map(shareableEvent).filter((event) => event !== undefined))],
    ['operator-pods.yaml', textOf((await ofOperator(PODS))?.map(shareablePod))],
    [
      'operator-deployments.yaml',
      textOf((await ofOperator(DEPLOYMENTS))?.map((each) => shareable(each, 'status'))),
    ],
    ['operator-config.yaml', configs === undefined ? FORBIDDEN : configText(configs)],
    ['leases.yaml', textOf(leases?.map((each) => shareable(each, 'spec')))],
    ...(await operatorLogs(context, namespace)),
  ]);
}

const FORBIDDEN = '# You may not read these objects, or the cluster does not know them.\n';

const textOf = (objects: readonly unknown[] | undefined): string =>
  objects === undefined ? FORBIDDEN : stringify(objects, { lineWidth: 0 });

/** Of each release a document. */
const configText = (configs: readonly { readonly text: string }[]): string =>
  configs.length === 0
    ? '# There is none.\n'
    : configs.map(({ text }) => `${text.trimEnd()}\n`).join('---\n');

async function operatorLogs(context: Context, namespace: string): Promise<[string, string][]> {
  const pods = (await operatorPods(context, namespace)) ?? [];
  return Promise.all(
    pods.map(
      async ({ name }): Promise<[string, string]> => [
        `log-of-${name}.jsonl`,
        await logOf(context, { namespace, name }),
      ],
    ),
  );
}

/** The operator writes nothing secret into its log; what looks like a token is replaced all the same. */
async function logOf(
  { cluster }: Context,
  pod: { namespace: string; name: string },
): Promise<string> {
  const lines: string[] = [];
  try {
    const query = { container: CONTAINER, tailLines: MAX_LOG_LINES };
    for await (const line of cluster.podLog(pod, query)) lines.push(cleaned(line));
  } catch {
    lines.push('The rest of the log could not be read');
  }
  return `${lines.join('\n')}\n`;
}

const cleaned = (line: unknown): string =>
  JSON.stringify(line, (_, value: unknown) =>
    typeof value === 'string' ? withoutTokens(value) : value,
  );
