import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';

/** Responses of a token endpoint and of a login: right ones, wrong ones, and bytes that are no HTTP. */

/** What a request presented, for responses that repeat it. */
export interface Presented {
  /** The first secret of the request. */
  readonly secret: string;
  /** Put into tokens, so that they are found wherever they turn up. */
  readonly canary: string;
  /** A login expects another form than a token request. */
  readonly isLogin: boolean;
}

export interface ResponseDraft {
  /** Bytes to send, by what was presented. */
  readonly render: (presented: Presented) => Buffer;
  /** Bytes after which the sending stops; absent: all are sent. */
  readonly cutAt?: number;
  readonly afterwards: 'keep' | 'close' | 'reset' | 'hang';
  readonly delayMs: number;
  /** What it is, for the report. */
  readonly kind: string;
}

/** `<secret>` and so on in a text are replaced when it is sent. */
type Template = string;

const base64 = (value: unknown): string =>
  Buffer.from(JSON.stringify(value) ?? '').toString('base64url');

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1_000) + seconds;

const lifetime = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 60, max: 600 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -1, 1, 29, 86_400, 1e9, 1e300, 0.5) },
);

const oddValue = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom('<secret>', '<base64>', '\u001b[31m\n\u202e', 'x'.repeat(20_000), 'NaN', '1e999'),
);

const claims = fc
  .record(
    {
      iss: fc.oneof(fc.constant('https://sso.test/realms/r1'), oddValue),
      sub: fc.oneof(fc.uuid(), oddValue),
      aud: fc.oneof(fc.array(fc.string(), { maxLength: 20 }), oddValue),
      scope: fc.oneof(fc.constant('openid profile'), oddValue),
      iat: fc.oneof(lifetime.map(inSeconds), oddValue),
      exp: fc.oneof(lifetime.map(inSeconds), oddValue),
    },
    { requiredKeys: [] },
  )
  .map((each) => `${base64({ alg: 'RS256' })}.${base64(each)}.<canary>signature`);

const accessToken = fc.oneof(
  { weight: 6, arbitrary: claims },
  { weight: 1, arbitrary: fc.constantFrom('<canary>opaque', '<canary> two words', '') },
  { weight: 1, arbitrary: fc.string({ unit: 'binary' }).map((text) => `<canary>${text}`) },
  { weight: 1, arbitrary: fc.nat({ max: 60_000 }).map((n) => `<canary>${'t'.repeat(n)}`) },
);

/** What Keycloak sends; short-lived, so that a run has renewals. */
const rightToken = fc
  .record({
    expires_in: fc.integer({ min: 40, max: 120 }),
    refresh_expires_in: fc.integer({ min: 60, max: 600 }),
  })
  .map((times) => {
    const exp = inSeconds(times.expires_in);
    const claims = { exp, iat: inSeconds(0), iss: 'https://sso.test', sub: 'u' };
    return {
      access_token: `${base64({ alg: 'RS256' })}.${base64(claims)}.<canary>signature`,
      refresh_token: `${base64({ alg: 'HS512' })}.${base64({ exp })}.<canary>refresh`,
      token_type: 'Bearer',
      scope: 'openid',
      'not-before-policy': 0,
      ...times,
    };
  });

const oddToken = fc.record(
  {
    access_token: accessToken,
    id_token: fc.oneof(accessToken, oddValue),
    refresh_token: fc.oneof(fc.constant('<canary>refresh'), oddValue),
    token_type: fc.oneof(fc.constantFrom('Bearer', 'bearer', 'DPoP', 'mac'), oddValue),
    expires_in: fc.oneof(lifetime, oddValue),
    refresh_expires_in: fc.oneof(lifetime, oddValue),
    scope: fc.oneof(fc.constant('openid'), oddValue),
    session_state: oddValue,
    'not-before-policy': fc.oneof(fc.constant(0), lifetime.map(inSeconds), oddValue),
  },
  { requiredKeys: ['access_token'] },
);

const ERRORS = [
  'invalid_grant',
  'invalid_client',
  'unauthorized_client',
  'invalid_scope',
  'invalid_request',
  'access_denied',
  'temporarily_unavailable',
  'slow_down',
  'something_else',
];

const DESCRIPTIONS = [
  'Invalid user credentials',
  'Account is not fully set up',
  'Session not active',
  'Maximum allowed refresh token reuse exceeded',
  'Invalid scopes: openid 1111 <secret> 2222',
  'value <secret> <base64> <encoded> <token>',
  'Realm does not exist',
  '\u001b[31mred\u202e\r\nX-Injected: 1',
];

const error = fc.record(
  {
    error: fc.oneof(fc.constantFrom(...ERRORS), oddValue),
    error_description: fc.oneof(fc.constantFrom(...DESCRIPTIONS), oddValue),
    message: oddValue,
  },
  { requiredKeys: ['error'] },
);

const json = (value: fc.Arbitrary<unknown>): fc.Arbitrary<Template> =>
  value.map((each) => JSON.stringify(each) ?? '');

interface Body {
  readonly kind: string;
  readonly status: number;
  readonly text: Template | Buffer;
}

const body = (
  kind: string,
  status: fc.Arbitrary<number>,
  text: fc.Arbitrary<Template | Buffer>,
): fc.Arbitrary<Body> => fc.record({ kind: fc.constant(kind), status, text });

const success = fc.constantFrom(200, 200, 200, 201, 204, 206, 299);
const refusal = fc.constantFrom(400, 401, 400, 401, 403, 404, 418, 423, 429, 451);
const failure = fc.constantFrom(500, 502, 503, 504, 599);
const anyStatus = fc.oneof(success, refusal, failure, fc.constantFrom(301, 302, 307, 100, 999));

const right = body('right tokens', fc.constant(200), json(rightToken));

const bodies = fc.oneof(
  { weight: 6, arbitrary: body('odd tokens', success, json(oddToken)) },
  { weight: 4, arbitrary: body('errors', refusal, json(error)) },
  { weight: 2, arbitrary: body('errors', failure, json(error)) },
  { weight: 1, arbitrary: body('JSON', anyStatus, json(fc.jsonValue())) },
  { weight: 1, arbitrary: body('text', anyStatus, fc.string({ unit: 'binary' })) },
  {
    weight: 1,
    arbitrary: body(
      'bytes',
      anyStatus,
      fc.uint8Array({ maxLength: 2_000 }).map((each) => Buffer.from(each)),
    ),
  },
  {
    weight: 1,
    arbitrary: body('pages', anyStatus, fc.constant('<!DOCTYPE html><title><secret></title>')),
  },
  {
    weight: 1,
    arbitrary: body(
      'large bodies',
      anyStatus,
      fc.integer({ min: 60_000, max: 1_000_000 }).map((n) => 'x'.repeat(n)),
    ),
  },
  {
    weight: 1,
    arbitrary: body(
      'deep JSON',
      success,
      fc.nat({ max: 30_000 }).map((n) => '['.repeat(n)),
    ),
  },
);

const date = fc.oneof(
  fc
    .integer({ min: -90_000, max: 90_000 })
    .map((s) => new Date(inSeconds(s) * 1_000).toUTCString()),
  fc.constantFrom('', 'x', 'Thu, 01 Jan 1970 00:00:00 GMT', 'Fri, 31 Dec 9999 23:59:59 GMT'),
);

const retryAfter = fc.oneof(
  fc.constantFrom('0', '1', '-5', '3600', '99999999999999999999', 'x', '', '1e9'),
  date,
);

/** Printable, for node's parser refuses the rest; what it refuses is sent as `bytes that are no HTTP`. */
const header = fc.tuple(
  fc.constantFrom('Date', 'Retry-After', 'Content-Type', 'Location', 'Authorization', 'Set-Cookie'),
  fc.oneof(
    date,
    retryAfter,
    fc.constantFrom('application/json', 'text/html', 'application/json; charset=utf-16'),
    fc.constantFrom('http://127.0.0.1:1/<encoded>', 'Bearer <canary>header'),
    fc.string({ maxLength: 60 }).map((text) => text.replace(/[^ -~]/g, '')),
  ),
);

const headers = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(header, { maxLength: 5 }) },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 1, max: 20_000 })
      .map((n): [string, string][] => [['X-Long', 'h'.repeat(n)]]),
  },
);

type Coding = 'plain' | 'gzip' | 'broken gzip' | 'named gzip' | 'named br' | 'gzip twice' | 'bomb';

const coding: fc.Arbitrary<Coding> = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Coding>('plain') },
  { weight: 2, arbitrary: fc.constant<Coding>('gzip') },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Coding[]>(
      'broken gzip',
      'named gzip',
      'named br',
      'gzip twice',
      'bomb',
    ),
  },
);

const BOMB = gzipSync(Buffer.alloc(20 * 2 ** 20));

function coded(text: Buffer, how: Coding): [body: Buffer, header: string] {
  switch (how) {
    case 'plain':
      return [text, ''];
    case 'gzip':
      return [gzipSync(text), 'gzip'];
    case 'broken gzip':
      return [gzipSync(text).subarray(0, -6), 'gzip'];
    case 'named gzip':
      return [text, 'gzip'];
    case 'named br':
      return [text, 'br'];
    case 'gzip twice':
      return [gzipSync(gzipSync(text)), 'gzip, gzip'];
    case 'bomb':
      return [BOMB, 'gzip'];
  }
}

type Framing = 'length' | 'too long' | 'too short' | 'chunked' | 'broken chunks' | 'until close';

function framed(bytes: Buffer, how: Framing): [header: string, body: Buffer] {
  const length = (n: number): string => `Content-Length: ${Math.max(n, 0)}\r\n`;
  const chunked = 'Transfer-Encoding: chunked\r\n';
  switch (how) {
    case 'length':
      return [length(bytes.length), bytes];
    case 'too long':
      return [length(bytes.length + 100), bytes];
    case 'too short':
      return [length(bytes.length - 3), bytes];
    case 'chunked':
      return [chunked, inChunks(bytes)];
    case 'broken chunks':
      return [chunked, Buffer.concat([Buffer.from('zz\r\n'), bytes])];
    case 'until close':
      return ['', bytes];
  }
}

const inChunks = (bytes: Buffer): Buffer =>
  Buffer.concat([
    ...(bytes.length === 0 ? [] : [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes]),
    Buffer.from(bytes.length === 0 ? '0\r\n\r\n' : '\r\n0\r\n\r\n'),
  ]);

const framing = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Framing>('length') },
  { weight: 2, arbitrary: fc.constant<Framing>('chunked') },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Framing[]>('too long', 'too short', 'broken chunks', 'until close'),
  },
);

function filledIn(text: Template, { secret, canary }: Presented): string {
  const values: Record<string, () => string> = {
    secret: () => secret,
    base64: () => Buffer.from(secret).toString('base64'),
    encoded: () => encodeURIComponent(secret.toWellFormed()),
    token: () => `${base64({ alg: 'RS256' })}.${base64({ sub: 'u' })}.${canary}signature`,
    canary: () => canary,
  };
  return text.replace(/<(\w+)>/g, (whole, name: string) => values[name]?.() ?? whole);
}

/** In JSON what is put in has to be escaped. */
function bodyOf({ text }: Body, presented: Presented): Buffer {
  if (typeof text !== 'string') return text;
  if (!/^[{["]/.test(text)) return Buffer.from(filledIn(text, presented));
  const inner = (value: string): string => JSON.stringify(value).slice(1, -1);
  const { secret } = presented;
  return Buffer.from(filledIn(text, { ...presented, secret: inner(secret.toWellFormed()) }));
}

/** A login sends the token alone, as a text. */
function asLogin({ text, ...rest }: Body, { isLogin }: Presented): Body {
  if (!isLogin || rest.kind !== 'right tokens' || typeof text !== 'string')
    return { ...rest, text };
  return { ...rest, text: JSON.parse(text).access_token };
}

interface Parts {
  readonly body: Body;
  readonly headers: readonly (readonly [string, string])[];
  readonly coding: Coding;
  readonly framing: Framing;
}

const isContentType = ([name]: readonly [string, string]): boolean => name === 'Content-Type';

const rendered =
  ({ body, headers, coding, framing }: Parts) =>
  (presented: Presented): Buffer => {
    const [bytes, encoding] = coded(bodyOf(asLogin(body, presented), presented), coding);
    const [length, framedBody] = framed(bytes, framing);
    const type = presented.isLogin ? 'text/plain' : 'application/json';
    const all = [...(headers.some(isContentType) ? [] : [['Content-Type', type]]), ...headers];
    const lines = all.map(([name, value = '']) => `${name}: ${filledIn(value, presented)}\r\n`);
    const contentEncoding = encoding === '' ? '' : `Content-Encoding: ${encoding}\r\n`;
    const head = `HTTP/1.1 ${body.status} X\r\n${lines.join('')}${contentEncoding}${length}\r\n`;
    return Buffer.concat([Buffer.from(head), framedBody]);
  };

const draft = (
  parts: fc.Arbitrary<Parts>,
  sending: fc.Arbitrary<Pick<ResponseDraft, 'cutAt' | 'afterwards' | 'delayMs'>>,
): fc.Arbitrary<ResponseDraft> =>
  fc.tuple(parts, sending).map(([each, sent]) => ({
    ...sent,
    kind: each.body.kind,
    render: rendered(each),
  }));

const wholly = fc.constant<Pick<ResponseDraft, 'afterwards' | 'delayMs'>>({
  afterwards: 'keep',
  delayMs: 0,
});

const rightResponse = draft(
  fc.record({
    body: right,
    headers: fc.constant([]),
    coding: fc.constant<Coding>('plain'),
    framing: fc.constant<Framing>('length'),
  }),
  wholly,
);

const oddResponse = draft(
  fc.record({ body: fc.oneof(right, bodies), headers, coding, framing }),
  fc.oneof(
    { weight: 6, arbitrary: wholly },
    {
      weight: 1,
      arbitrary: fc.record({
        cutAt: fc.nat({ max: 400 }),
        afterwards: fc.constantFrom('close', 'reset', 'hang'),
        delayMs: fc.nat({ max: 300 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        afterwards: fc.constantFrom('close', 'keep'),
        delayMs: fc.nat({ max: 1_000 }),
      }),
    },
  ),
);

const noHttp: fc.Arbitrary<ResponseDraft> = fc.uint8Array({ maxLength: 500 }).map((bytes) => ({
  kind: 'bytes that are no HTTP',
  render: () => Buffer.from(bytes),
  afterwards: 'close',
  delayMs: 0,
}));

/** Half of them right, or no credential would get as far as a token. */
export const anyResponse: fc.Arbitrary<ResponseDraft> = fc.oneof(
  { weight: 10, arbitrary: rightResponse },
  { weight: 9, arbitrary: oddResponse },
  { weight: 1, arbitrary: noHttp },
);

export { rightResponse };
