import { Failure, type FailureKind } from '../lib/failure.ts';

const REASONS: Readonly<Record<string, string>> = {
  EAI_AGAIN: 'the name server does not answer',
  ECONNREFUSED: 'nothing listens there',
  ECONNRESET: 'the connection was cut',
  ENOTFOUND: 'the name is unknown',
  ETIMEDOUT: 'no connection in time',
  NOT_HTTP: 'what answers there speaks no HTTP',
  TIMEOUT: 'no whole answer in time',
  UND_ERR_ABORTED: 'the proxy refused the connection',
  UND_ERR_CONNECT_TIMEOUT: 'no connection in time',
  UND_ERR_SOCKET: 'the connection was cut',
};

type Row = readonly [
  codes: RegExp,
  kind: FailureKind,
  words: (host: string, code: string) => string,
];

/** The first row that knows the code decides. */
const ERROR_TABLE: readonly Row[] = [
  [
    /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_(CA|PURPOSE)$|HOSTNAME_M|PATH_LENGTH_|EPROTO$)/,
    'TLSError',
    (host, code) =>
      `The certificate or TLS handshake of ${host} was refused (${code}). ` +
      'Check caFile of the environment, NODE_EXTRA_CA_CERTS and the clock.',
  ],
  [
    // Not a word of the network: the request could not even be built, or this program is wrong
    /^(ERR_INVALID_.*|OAUTH_.*|)$/,
    'InternalError',
    (host) => `The request to ${host} failed inside the operator.`,
  ],
];

const OTHERWISE: Row = [
  /./,
  'NetworkError',
  (host, code) =>
    `${host} cannot be reached: ${REASONS[code] ?? 'the connection failed'} (${code}). ` +
    'Check DNS, network policies and HTTPS_PROXY; the operator tries again.',
];

/**
 * The one translation of what undici, Node's network and TLS, and openid-client throw. Only the innermost code
 * survives; foreign texts may hold anything, so nothing else of the error does.
 */
export const toFailure = (error: unknown, host: string): Failure =>
  networkFailure(codesOf(error)[0] ?? '', host);

/** @param code of the innermost error; empty when it has none */
export function networkFailure(code: string, host: string): Failure {
  const [, kind, words] = ERROR_TABLE.find(([codes]) => codes.test(code)) ?? OTHERWISE;
  return new Failure(kind, words(host, code), code === '' ? {} : { code });
}

/** Faults that a second try a moment later may not meet. */
export const isTransient = (error: unknown): boolean => TRANSIENT.has(codesOf(error)[0] ?? '');

/** Transient faults from before there was a connection: the server has not seen the request. */
export const isUnsent = (error: unknown): boolean => UNSENT.has(codesOf(error)[0] ?? '');

const UNSENT: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const TRANSIENT: ReadonlySet<string> = new Set([
  ...UNSENT,
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
]);

/** Errors that carry no code of their own. */
const CODES_OF_NAMES: ReadonlyMap<unknown, string> = new Map([['HTTPParserError', 'NOT_HTTP']]);

const DEEPEST = 6;

/** The codes in a chain of errors, the innermost cause first. */
function codesOf(error: unknown, depth = 0): string[] {
  if (typeof error !== 'object' || error === null || depth > DEEPEST) return [];
  const several: unknown = Reflect.get(error, 'errors');
  const inner = [Reflect.get(error, 'cause'), ...(Array.isArray(several) ? several : [])];
  return [...inner.flatMap((cause) => codesOf(cause, depth + 1)), ...ownCode(error)];
}

function ownCode(error: object): string[] {
  const code: unknown =
    CODES_OF_NAMES.get(Reflect.get(error, 'name')) ?? Reflect.get(error, 'code');
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code) ? [code] : [];
}
