import { Failure } from '../lib/failure.ts';
import { type Sensitive, sanitize } from '../lib/sensitive.ts';
import type { ApiError } from './api-error.ts';
import { CLUSTER_CREDENTIALS, CREDENTIALS, type Resource } from './resources.ts';

/** The request that failed. */
export interface ApiCall {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete';
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly name?: string;
  /** What the request held that must not be shown. */
  readonly sent?: readonly Sensitive[];
  /** False where the object holds secrets that are not ours: no foreign text is shown then. */
  readonly quotable?: boolean;
}

/** Reasons why the API server or an admission plug-in refuses an object that it understands. */
const REJECTED = new Set([400, 403, 405, 413, 415, 422]);

const LACKS_PERMISSION = /\bcannot ([a-z]+) resource\b/;

/** The only place that says in words what an error of the API server means. */
export function toFailure(error: ApiError, call: ApiCall): Failure {
  const code = error.code === 0 ? error.reason : String(error.code);
  const details = {
    code,
    ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
  };
  const permission = permissionText(error, call);
  if (permission !== undefined) return new Failure('PermissionDenied', permission, details);
  if (isRefusedWrite(error, call)) {
    return new Failure('TargetRefused', refusalText(error, call), details);
  }
  return new Failure('ClusterUnavailable', unavailableText(error, call), details);
}

const isWrite = ({ verb }: ApiCall): boolean =>
  verb === 'create' || verb === 'update' || verb === 'patch';

/** A namespace that is being deleted, a quota, a policy or the schema: a permission of ours is not what is missing. */
const isRefusedWrite = (error: ApiError, call: ApiCall): boolean =>
  isWrite(call) && (REJECTED.has(error.code) || error.reason === 'NamespaceTerminating');

/** What the operator is not allowed to do; undefined when no permission of ours is missing. */
function permissionText(error: ApiError, call: ApiCall): string | undefined {
  if (error.code !== 403) return undefined;
  const named = LACKS_PERMISSION.exec(error.detail.reveal())?.[1];
  if (named === undefined && isWrite(call)) return undefined;
  const verb = named ?? call.verb;
  const scope =
    call.namespace === undefined ? 'in the whole cluster' : `in namespace "${call.namespace}"`;
  return `The operator is not allowed to ${verb} ${nameOf(call.resource)} ${scope}; grant this to its service account (RBAC verb "${verb}")`;
}

function refusalText(error: ApiError, call: ApiCall): string {
  const where = `${call.resource.plural} "${call.name ?? ''}"`;
  const fields = error.causes.map(({ field }) => field).filter((field) => field !== '');
  const about = fields.length === 0 ? '' : ` because of ${sanitize(fields.join(', '), [])}`;
  const quote = quoteOf(error, call);
  return `The API server refuses to store ${where} (${error.code} ${wordOf(error.reason)})${about}${quote}`;
}

function quoteOf(error: ApiError, { sent = [], quotable = true }: ApiCall): string {
  const text = error.detail.reveal();
  if (!quotable || text === '') return '';
  return `: ${sanitize(withoutEncoded(sanitize(text, sent)), [])}`;
}

/** Even a cut-off piece of a token or of its base64 goes; names (lower case, or CamelCase words) stay. */
const withoutEncoded = (text: string): string =>
  text.replace(/[\w+/=-]{12,}/g, (run) => (isName(run) ? run : '[redacted]'));

const isName = (run: string): boolean =>
  /^[a-z0-9/-]+$/.test(run) || /^[A-Za-z]?[a-z]+(?:[A-Z][a-z]{2,})*$/.test(run);

function unavailableText(error: ApiError, call: ApiCall): string {
  const doing = `${call.verb} ${nameOf(call.resource)}`;
  if (error.code === 0)
    return `No answer from the API server to ${doing} (${wordOf(error.reason)})`;
  if (error.code === 401) {
    return 'The API server does not accept the credentials of the operator; check its service account or kubeconfig';
  }
  if (error.code === 404 && call.name === undefined && isOfACrd(call)) {
    return `The API server does not know ${nameOf(call.resource)}; install the CRD: helm upgrade, or kubectl apply --server-side -f crds/`;
  }
  return `The API server cannot ${doing} for now (${error.code} ${wordOf(error.reason)})`;
}

const isOfACrd = ({ resource }: ApiCall): boolean =>
  resource === CREDENTIALS || resource === CLUSTER_CREDENTIALS;

function nameOf({ apiVersion, plural }: Resource): string {
  const [group, version] = apiVersion.split('/');
  return version === undefined ? plural : `${plural}.${group}`;
}

/** Reasons are CamelCase words by convention, but an aggregated server may write anything. */
const wordOf = (reason: string): string =>
  /^[A-Za-z0-9_]{1,60}$/.test(reason) ? reason : 'unknown reason';
