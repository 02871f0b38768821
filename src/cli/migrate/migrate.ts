import type { Resource } from '../../kubernetes/resources.ts';
import { consumersAmong } from '../consumers.ts';
import type { Context } from '../context.ts';
import { ifAllowed, usageError } from '../exit-code.ts';
import { type Draft, manifestOf, yamlOf } from '../manifest.ts';
import { DEFAULT_CONFIG, readOperatorConfig } from '../operator-config.ts';
import { PODS } from '../operator-pods.ts';
import { plain, type Result } from '../output.ts';
import { fromCronJob, type OldWriter } from './cron-job.ts';
import { fromExternalSecret } from './external-secret.ts';
import { type Findings, findingsIn } from './findings.ts';

const CRON_JOBS: Resource = { apiVersion: 'batch/v1', plural: 'cronjobs' };

/** What stands where the old writer does not tell. */
const FILL_IN = 'FILL-IN';

/** `kubectl convercus migrate cronjob|external-secret NAME`: prints what replaces it, and the order of steps. */
export async function migrate(context: Context, kind: string, name: string): Promise<Result> {
  const writer = await writerOf(context, kind, name);
  const { environments } = (await readOperatorConfig(context)) ?? DEFAULT_CONFIG;
  const findings = findingsIn(writer.text, environments);
  const draft = draftOf(context, name, { writer, findings });
  const pods = await ifAllowed(context.cluster.list(PODS, context.namespace));
  const users = consumersAmong(pods ?? [], writer.secret ?? '').map(({ workload }) => workload);
  const steps = stepsFor({ kind, name, draft, writer, users, findings });
  const comments = steps.map((step, at) => `# ${at + 1}. ${step}\n`).join('');
  return { data: { steps, manifest: manifestOf(draft) }, text: comments + yamlOf(draft) };
}

async function writerOf(context: Context, kind: string, name: string): Promise<OldWriter> {
  if (kind === 'cronjob') {
    return fromCronJob(await context.cluster.get(CRON_JOBS, context.namespace, name));
  }
  if (kind === 'external-secret') return fromExternalSecret(context, name);
  throw usageError(`There is no way from a "${plain(kind, 60)}"; write cronjob or external-secret`);
}

interface Found {
  readonly writer: OldWriter;
  readonly findings: Findings;
}

/** The target gets a name of its own: the old Secret is read until all pods have moved. */
function draftOf({ namespace }: Context, name: string, { writer, findings }: Found): Draft {
  const { program = FILL_IN, environment = FILL_IN, realm, grantType, clientId, scope } = findings;
  const { secret, data } = writer;
  const target = `${secret ?? name}-renewed`;
  return {
    namespace,
    name,
    program,
    environment,
    grantType,
    clientId,
    scope,
    realm,
    source: sourceOf(writer),
    target: { name: target, ...(data === undefined ? {} : { data }) },
  };
}

/** The key of the client secret is `client_secret` by default. */
function sourceOf({ source }: OldWriter): Draft['source'] {
  const { name = FILL_IN, key = '' } = source ?? {};
  return key === '' || key === 'client_secret' ? { name } : { name, clientSecretKey: key };
}

interface Move extends Found {
  readonly kind: string;
  readonly name: string;
  readonly draft: Draft;
  readonly users: readonly string[];
}

function stepsFor({ kind, name, draft, writer, users, findings }: Move): string[] {
  const { namespace } = draft;
  const old = writer.secret ?? 'the old Secret';
  const missing = yamlOf(draft).includes(FILL_IN);
  const used = users.length === 0 ? 'what mounts it' : users.join(', ');
  const resource = kind === 'cronjob' ? 'cronjob' : 'externalsecret';
  return [
    ...(findings.hasPlainSecret
      ? [
          'The client secret stands in clear text there. Ask Convercus for another one, and put that into a Secret.',
        ]
      : []),
    ...(missing ? [`Replace each ${FILL_IN}: it was not found in the ${resource}.`] : []),
    'Apply this; the old one goes on.',
    `Wait: kubectl wait --for=condition=Ready convercuscredential/${name} -n ${namespace} --timeout=90s`,
    `Change Secret ${plain(old, 253)} to ${draft.target?.name} in ${used}; as a volume without subPath, so that a new token arrives.`,
    `When no pod uses ${plain(old, 253)} any more: kubectl delete ${resource} ${name} -n ${namespace}${kind === 'cronjob' ? `; kubectl delete secret ${plain(old, 253)} -n ${namespace}` : ''}`,
  ];
}
