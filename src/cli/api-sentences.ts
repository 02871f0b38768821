import type { ApiError } from '../kubernetes/api-error.ts';
import { CLUSTER_CREDENTIALS, CREDENTIALS, type Resource } from '../kubernetes/resources.ts';
import { sanitize } from '../lib/sensitive.ts';
import { CliError, EXIT } from './exit-code.ts';

/** A request of a person to the API server. */
export interface Wanted {
  readonly verb: 'get' | 'list' | 'create' | 'patch';
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
}

/** What a failed request means for the person, in one sentence with the command that helps. */
export function cliErrorFrom(error: ApiError, wanted: Wanted, server: string): CliError {
  return new CliError(EXIT.cluster, sentence(error, wanted, server), error.code);
}

function sentence(error: ApiError, wanted: Wanted, server: string): string {
  if (error.code === 0) return unreachable(error.reason, server);
  if (error.code === 401) {
    return `The API server ${server} does not accept your credentials; log in again, then try: kubectl auth whoami`;
  }
  if (error.code === 403) return forbidden(error, wanted);
  if (error.code === 404) return notFound(error, wanted);
  return refusal(error, wanted);
}

const refusal = (error: ApiError, wanted: Wanted): string =>
  `The API server refuses to ${wanted.verb} ${subject(wanted)} (${error.code} ${sanitize(error.reason, [])})${quote(error, wanted)}`;

function unreachable(reason: string, server: string): string {
  if (reason === 'NoCredentials') {
    return `The credentials of the kubeconfig for ${server} can't be used: a file is missing or the login command fails; try: kubectl get namespaces`;
  }
  return `The API server ${server} can't be reached (${sanitize(reason, [])}); check the context with: kubectl config get-contexts`;
}

/** RBAC is the usual reason. An admission policy, a quota and a namespace that is being deleted tell theirs in the message. */
function forbidden(error: ApiError, wanted: Wanted): string {
  const scope = wanted.namespace === undefined ? '-A' : `-n ${wanted.namespace}`;
  const resource = nameOf(wanted.resource);
  const message = error.detail.reveal();
  if (/ValidatingAdmissionPolicy|admission webhook/.test(message)) {
    return `The cluster's policy forbids to ${wanted.verb} ${subject(wanted)}${quote(error, wanted)}`;
  }
  if (message !== '' && !/forbidden: User /.test(message)) return refusal(error, wanted);
  return `You may not ${wanted.verb} ${subject(wanted)}; ask an administrator for the right, and check with: kubectl auth can-i ${wanted.verb} ${resource} ${scope}`;
}

function notFound(error: ApiError, wanted: Wanted): string {
  if (wanted.resource.plural === CLUSTER_CREDENTIALS.plural)
    return noClusterCredential(error, wanted);
  const isOurs = wanted.resource.plural === CREDENTIALS.plural;
  // The API server itself answers for an unknown resource, without a Status object
  if (isOurs && error.reason === '') return NO_CRD;
  // After a creation
  if (wanted.namespace !== undefined && error.detail.reveal().startsWith('namespaces "')) {
    return `There is no namespace "${wanted.namespace}"; see those that are there: kubectl get namespaces`;
  }
  if (!isOurs) return `There is no ${subject(wanted)}`;
  const namespace = wanted.namespace ?? '';
  return `There is no ConvercusCredential "${wanted.name}" in namespace "${namespace}"; see those that are there: kubectl convercus list -n ${namespace}`;
}

const noClusterCredential = (error: ApiError, { name }: Wanted): string =>
  error.reason === ''
    ? 'This cluster does not know ClusterConvercusCredential: it is off by default; an administrator sets clusterCredentials.enabled of the chart'
    : `There is no ClusterConvercusCredential "${name}"; see those that are there: kubectl convercus list cconvcred`;

export const NO_CRD =
  'This cluster does not know ConvercusCredential: the operator is not installed; install its chart, then try: kubectl convercus check api --wait 2m';

/** Messages about Secrets are not quoted: they may echo what was sent. */
function quote(error: ApiError, { resource }: Wanted): string {
  const text = sanitize(error.detail.reveal(), []);
  return text === '' || resource.plural === 'secrets' ? '' : `: ${text}`;
}

function subject({ resource, namespace, name }: Wanted): string {
  const what = name === undefined ? nameOf(resource) : `${nameOf(resource)} "${name}"`;
  return namespace === undefined
    ? `${what} in the whole cluster`
    : `${what} in namespace "${namespace}"`;
}

function nameOf({ apiVersion, plural }: Resource): string {
  const [group, version] = apiVersion.split('/');
  return version === undefined ? plural : `${plural}.${group}`;
}
