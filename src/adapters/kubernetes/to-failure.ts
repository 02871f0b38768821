import { Failure } from '../../domain/failure.ts';
import { type Sensitive, sanitize } from '../../domain/sensitive.ts';
import type { ApiError } from './api-error.ts';
import { CREDENTIALS, type Resource } from './resources.ts';

/** What was asked of the API server when it failed. */
export interface Attempt {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete';
  readonly resource: Resource;
  readonly namespace?: string | undefined;
  readonly name?: string;
  /** What the request held that must not be shown. */
  readonly sent?: readonly Sensitive[];
  /** False where the object holds secrets that we do not know: then no foreign text is shown at all. */
  readonly quotable?: boolean;
}

/** Reasons why the API server or an admission plug-in refuses an object that it understands. */
const REFUSED = new Set([400, 403, 405, 413, 415, 422]);

const LACKS_PERMISSION = /\bcannot ([a-z]+) resource\b/;

/** The only place that says in words what an error of the API server means. */
export function toFailure(error: ApiError, attempt: Attempt): Failure {
  const code = error.code === 0 ? error.reason : String(error.code);
  const details = {
    code,
    ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
  };
  const missing = missingVerb(error, attempt);
  if (missing !== undefined) return new Failure('ClusterUnavailable', missing, details);
  if (isTokenFailure(error, attempt)) {
    return new Failure('TargetRefused', refusalText(error, attempt), details);
  }
  return new Failure('ClusterUnavailable', unavailableText(error, attempt), details);
}

const isWrite = ({ verb }: Attempt): boolean =>
  verb === 'create' || verb === 'update' || verb === 'patch';

/** A namespace that is being deleted, a quota, a policy or the schema: our permissions are not the point. */
const isTokenFailure = (error: ApiError, attempt: Attempt): boolean =>
  isWrite(attempt) && (REFUSED.has(error.code) || error.reason === 'NamespaceTerminating');

function missingVerb(error: ApiError, attempt: Attempt): string | undefined {
  if (error.code !== 403) return undefined;
  const named = LACKS_PERMISSION.exec(error.detail.reveal())?.[1];
  if (named === undefined && isWrite(attempt)) return undefined;
  const verb = named ?? attempt.verb;
  const scope =
    attempt.namespace === undefined
      ? 'in the whole cluster'
      : `in namespace "${attempt.namespace}"`;
  return `The operator may not ${verb} ${nameOf(attempt.resource)} ${scope}; grant this to its service account (RBAC verb "${verb}")`;
}

function refusalText(error: ApiError, attempt: Attempt): string {
  const where = `${attempt.resource.plural} "${attempt.name ?? ''}"`;
  const fields = error.causes.map(({ field }) => field).filter((field) => field !== '');
  const about = fields.length === 0 ? '' : ` because of ${sanitize(fields.join(', '), [])}`;
  const quote = quoteOf(error, attempt);
  return `The API server refuses to store ${where} (${error.code} ${wordOf(error.reason)})${about}${quote}`;
}

function quoteOf(error: ApiError, { sent = [], quotable = true }: Attempt): string {
  const text = error.detail.reveal();
  if (!quotable || text === '') return '';
  return `: ${sanitize(withoutEncoded(sanitize(text, sent)), [])}`;
}

/** Even a cut-off piece of a token or of its base64 goes; names (lower case, or CamelCase words) stay. */
const withoutEncoded = (text: string): string =>
  text.replace(/[\w+/=-]{12,}/g, (run) => (isName(run) ? run : '[redacted]'));

const isName = (run: string): boolean =>
  /^[a-z0-9/-]+$/.test(run) || /^[A-Za-z]?[a-z]+(?:[A-Z][a-z]{2,})*$/.test(run);

function unavailableText(error: ApiError, attempt: Attempt): string {
  const doing = `${attempt.verb} ${nameOf(attempt.resource)}`;
  if (error.code === 0)
    return `No answer from the API server to ${doing} (${wordOf(error.reason)})`;
  if (error.code === 401) {
    return 'The API server does not accept the credentials of the operator; check its service account or kubeconfig';
  }
  if (error.code === 404 && attempt.name === undefined && attempt.resource === CREDENTIALS) {
    return `The API server does not know ${nameOf(CREDENTIALS)}; install the CRD: helm upgrade, or kubectl apply --server-side -f crds/`;
  }
  return `The API server cannot ${doing} for now (${error.code} ${wordOf(error.reason)})`;
}

function nameOf({ apiVersion, plural }: Resource): string {
  const [group, version] = apiVersion.split('/');
  return version === undefined ? plural : `${plural}.${group}`;
}

/** Reasons are CamelCase words by convention, but an aggregated server may write anything. */
const wordOf = (reason: string): string =>
  /^[A-Za-z0-9_]{1,60}$/.test(reason) ? reason : 'unknown reason';
