import { requiredFields, type SecretField, targetNameOf } from '../credential/credential.ts';
import { MERGE_ANNOTATION } from '../credential/target-secret.ts';
import type { FailureKind } from '../lib/failure.ts';
import { addressOf, type Shown } from './kind.ts';

/** What a fix depends on, besides the failure. */
export interface Faulty {
  readonly credential: Shown;
  /** The credentials Secret; `unknown` when the person may not look. */
  readonly source: 'there' | 'absent' | 'unknown';
}

type Fix = (faulty: Faulty) => string | undefined;

/**
 * What a person does about a failure, in one line: a command to copy, else words; undefined when the message has to do.
 * Values of Secrets are read without echo and stand on no command line. The schema keeps what a shell would obey out of names.
 */
export function fixFor(reason: string, faulty: Faulty): string | undefined {
  const fix = Object.entries(FIXES).find(([kind]) => kind === reason)?.[1];
  return fix?.(faulty);
}

const edit: Fix = ({ credential }) => {
  const { namespace, name } = addressOf(credential);
  return namespace === undefined
    ? `fix: kubectl edit clusterconvercuscredential ${name}`
    : `fix: kubectl edit convercuscredential ${name} -n ${namespace}`;
};

/**
 * With a cluster credential it is for the owner of that namespace to rename or delete the Secret. After the first token the
 * name of the target can't be changed.
 */
const rename: Fix = (faulty) => {
  const { cluster, status } = faulty.credential;
  const isChangeable = cluster === undefined && status?.issuedAt === undefined;
  return isChangeable ? edit(faulty) : undefined;
};

const storeAll: Fix = (faulty) =>
  faulty.source === 'unknown' ? undefined : stored(faulty, () => true);

const FIXES: Partial<Record<FailureKind, Fix>> = {
  InvalidSpec: edit,
  InputMissing: storeAll,
  InputInvalid: storeAll,
  TargetNotOurs: rename,
  TargetMissing: edit,
  MergeNotAllowed: ({ credential }) =>
    `fix: kubectl annotate secret ${targetNameOf(credential)} -n ${credential.metadata.namespace} ${MERGE_ANNOTATION}=${credential.metadata.name}`,
  PermissionDenied: () =>
    "fix: an administrator restores the operator's roles: upgrade its Helm release, or apply deploy/base/rbac.yaml again",
  CredentialsRejected: (faulty) =>
    stored(faulty, (field) => field === 'username' || field === 'password'),
  ClientSecretRejected: (faulty) => stored(faulty, (field) => field === 'clientSecret'),
  ClientUnknownOrDisabled: edit,
  InvalidScope: edit,
  InvalidRequest: edit,
  RealmNotFound: edit,
  RateLimited: () =>
    'wait: the operator tries again when it may; a renewal that you ask for waits as well',
  ServerUnavailable: () => 'wait until the server is back: the operator tries again by itself',
};

/** Not `USERNAME`, which zsh keeps for the login name, whatever is read into it. */
const VARIABLES: Readonly<Record<SecretField, string>> = {
  clientId: 'CLIENT_ID',
  clientSecret: 'CLIENT_SECRET',
  username: 'CONVERCUS_USER',
  password: 'PASSWORD',
  org: 'ORG',
};

const HIDDEN: ReadonlySet<SecretField> = new Set(['clientSecret', 'password']);

/** Creates the credentials Secret, or replaces keys of it and keeps the others. For bash and zsh. */
function stored(
  { credential: { metadata, spec }, source: found }: Faulty,
  isWanted: (field: SecretField) => boolean,
): string {
  const { credentialsSecretRef: source, grantType, org } = spec;
  const fields = requiredFields({ grantType, source, org }).filter(([field]) => isWanted(field));
  const reads = fields.map(
    ([field]) => `read ${HIDDEN.has(field) ? '-rs' : '-r'} ${VARIABLES[field]}`,
  );
  const files = fields.map(
    ([field, key]) => `--from-file=${key}=<(printf %s "$${VARIABLES[field]}")`,
  );
  const create = `kubectl create secret generic ${source.name} -n ${metadata.namespace} ${files.join(' ')}`;
  const change = `${create} --dry-run=client -o yaml | kubectl patch secret ${source.name} -n ${metadata.namespace} --type=merge --patch-file=/dev/stdin`;
  return `fix: ${[...reads, found === 'absent' ? create : change].join(' && ')}`;
}
