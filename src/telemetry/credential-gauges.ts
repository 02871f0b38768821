import type { ConvercusCredential } from '../credential/api.ts';
import { isReady } from '../credential/status.ts';
import { type EpochMs, parseTime } from '../lib/time.ts';
import { inText, type Labels } from './text-format.ts';

interface Gauge {
  readonly name: string;
  readonly help: string;
  /** Undefined: the credential has no such sample. */
  readonly value: (credential: ConvercusCredential, now: EpochMs) => number | undefined;
  /** Those of every gauge when absent. */
  readonly labels?: (credential: ConvercusCredential) => Labels;
}

const GAUGES: readonly Gauge[] = [
  {
    name: 'convercus_credential_ready',
    help: 'Whether the target holds a token that is valid now.',
    value: (credential, now) => Number(isReady(credential.status, now)),
  },
  {
    name: 'convercus_credential_stalled',
    help: 'Whether nothing goes on until a person does something.',
    value: ({ status }) => Number(isTrue(status, 'Stalled')),
  },
  {
    name: 'convercus_credential_token_expiry_timestamp_seconds',
    help: 'When the token in the target expires.',
    value: ({ status }) => inSeconds(status?.expiresAt),
  },
  {
    name: 'convercus_credential_renewal_due_timestamp_seconds',
    help: 'When the token in the target is to be renewed.',
    value: ({ status }) => inSeconds(status?.renewAt),
  },
  {
    name: 'convercus_credential_suspended',
    help: 'Only of credentials that are suspended: 1.',
    value: ({ spec }) => (spec.suspend ? 1 : undefined),
  },
  {
    name: 'convercus_credential_failure_info',
    help: 'Only of credentials whose last attempt failed: 1, with the reason of the condition Renewed.',
    value: ({ status }) => (failureReason(status) === undefined ? undefined : 1),
    labels: ({ metadata: { namespace, name }, status }) => ({
      namespace,
      name,
      reason: failureReason(status) ?? '',
    }),
  },
];

const CREDENTIALS_PER_CHUNK = 1_000;

/**
 * The gauges of all credentials as Prometheus text, in pieces. Written without the metrics library, which would keep a
 * sample of every credential in memory.
 * @param credentials called once for each gauge
 */
export function* credentialGauges(
  credentials: () => Iterable<ConvercusCredential>,
  now: EpochMs,
): Generator<string> {
  for (const { name, help, value, labels = labelsOf } of GAUGES) {
    let chunk = `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`;
    let count = 0;
    for (const credential of credentials()) {
      const sample = value(credential, now);
      if (sample !== undefined) chunk += `${name}{${inText(labels(credential))}} ${sample}\n`;
      count += 1;
      if (count % CREDENTIALS_PER_CHUNK > 0) continue;
      yield chunk;
      chunk = '';
    }
    yield chunk;
  }
}

/** In place of the gauges of each credential: how many are in each state. In pieces, too. */
export function* credentialCounts(
  credentials: Iterable<ConvercusCredential>,
  now: EpochMs,
): Generator<string> {
  const counts = { ready: 0, not_ready: 0, suspended: 0 };
  let count = 0;
  for (const credential of credentials) {
    counts[stateOf(credential, now)] += 1;
    count += 1;
    if (count % CREDENTIALS_PER_CHUNK === 0) yield '';
  }
  yield `# HELP convercus_credentials How many credentials are in each state.\n# TYPE convercus_credentials gauge\n`;
  for (const [state, value] of Object.entries(counts)) {
    yield `convercus_credentials{state="${state}"} ${value}\n`;
  }
}

function stateOf(credential: ConvercusCredential, now: EpochMs) {
  if (credential.spec.suspend) return 'suspended';
  return isReady(credential.status, now) ? 'ready' : 'not_ready';
}

function isTrue(status: ConvercusCredential['status'], type: string): boolean {
  return status?.conditions?.some((it) => it.type === type && it.status === 'True') ?? false;
}

function inSeconds(time: string | undefined): number | undefined {
  const at = parseTime(time);
  return at === undefined ? undefined : at / 1_000;
}

function failureReason(status: ConvercusCredential['status']): string | undefined {
  return status?.conditions?.find((it) => it.type === 'Renewed' && it.status === 'False')?.reason;
}

function labelsOf({ metadata, spec }: ConvercusCredential): Labels {
  const { program, environment, grantType } = spec;
  const { namespace, name } = metadata;
  return { namespace, name, program, environment, grant_type: grantType };
}
