import { createServer, type Socket } from 'node:net';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { seconds } from '../../src/lib/time.ts';
import type { EndpointRequest, LoginRequest } from '../../src/oauth/grants.ts';
import { createLoginSource } from '../../src/oauth/legacy-login.ts';
import { createTokenSource } from '../../src/oauth/token-endpoint.ts';
import { runs } from '../support/runs.ts';
import { aRequest, freeEverything, later, someHosts } from './lab.ts';

afterEach(freeEverything);

/** What a server sends, as bytes. */
interface Sent {
  readonly status: number;
  readonly encoding: string | undefined;
  readonly body: Buffer;
  /** How many bytes of the body come before the end. */
  readonly kept: number;
  /** The connection is reset, closed, or left open. */
  readonly end: 'reset' | 'close' | 'stall';
}

const headOf = ({ status, encoding, body }: Sent): string =>
  [
    `HTTP/1.1 ${status} X`,
    'Content-Type: application/json',
    'Connection: close',
    `Content-Length: ${body.length}`,
    ...(encoding === undefined ? [] : [`Content-Encoding: ${encoding}`]),
    '\r\n',
  ].join('\r\n');

function send(socket: Socket, sent: Sent): void {
  socket.write(headOf(sent));
  const end = { reset: () => socket.resetAndDestroy(), close: () => socket.end(), stall: () => {} };
  // What is written right before a reset may be lost
  socket.write(sent.body.subarray(0, sent.kept), () => setTimeout(end[sent.end], 5));
}

/** A server of one response; counts the requests. */
async function serve(sent: Sent) {
  const seen = { requests: 0 };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      if (!chunk.toString().startsWith('POST ')) return;
      seen.requests += 1;
      send(socket, sent);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  return { seen, url: `http://127.0.0.1:${port}/realms/abc/token` };
}

const PASSWORD = { username: new Sensitive('a user name'), password: new Sensitive('a password') };
const passwordAt = (url: string): EndpointRequest => ({
  ...aRequest(url),
  grantType: 'password',
  ...PASSWORD,
});
const loginAt = (loginUrl: string): LoginRequest => ({
  grantType: 'legacy_login',
  environment: 'staging',
  loginUrl,
  org: new Sensitive('an org'),
  ...PASSWORD,
});

async function kindsOf(sent: Sent) {
  const total = sent.end === 'stall' ? 500 : seconds(30);
  const { hosts } = someHosts({}, { timeouts: { connect: seconds(5), total } });
  const { signal } = new AbortController();
  const { seen, url } = await serve(sent);
  const results = [
    await createTokenSource(hosts)(aRequest(url), signal),
    await createTokenSource(hosts)(passwordAt(url), signal),
    await createLoginSource(hosts)(loginAt(url), signal),
  ];
  await freeEverything();
  return { requests: seen.requests, kinds: results.map((each) => isFailure(each) && each.kind) };
}

const GRANT = Buffer.from('{"error":"invalid_grant"}');
const BROKEN: readonly [what: string, Partial<Sent>][] = [
  ['no gzip under its name', { encoding: 'gzip' }],
  ['half of a gzip', { encoding: 'gzip', body: gzipSync(GRANT).subarray(0, 20) }],
  ['brotli', { encoding: 'br', body: brotliCompressSync(GRANT) }],
  ['an unknown encoding', { encoding: 'nonsense' }],
  ['nothing before the connection is reset', { kept: 0, end: 'reset' }],
  ['half of it before the connection is reset', { kept: 9, end: 'reset' }],
  ['half of it before the connection is closed', { kept: 9, end: 'close' }],
  ['half of it and nothing more', { kept: 9, end: 'stall' }],
];

const asSent = (changes: Partial<Sent>): Sent => {
  const body = changes.body ?? GRANT;
  return { status: 401, encoding: undefined, kept: body.length, end: 'close', ...changes, body };
};

it('a request is not written when the term ends while its connection is made', async () => {
  const { seen, url } = await serve(asSent({}));
  const lost = new AbortController();
  let endsNow = false;
  const beforeSend = (): void => {
    if (endsNow) lost.abort(new Error('the Lease is lost'));
    lost.signal.throwIfAborted();
    queueMicrotask(() => {
      endsNow = true;
    });
  };
  const { hosts } = someHosts({}, { beforeSend });
  const token = createTokenSource(hosts)(aRequest(url), lost.signal);
  await expect(token).rejects.toThrow('the Lease is lost');
  expect(seen.requests).toBe(0);
});

describe('a response with a status line', () => {
  it.each(BROKEN)('is one whatever its body: %s', async (_, changes) => {
    expect(await kindsOf(asSent(changes))).toEqual({
      requests: 3,
      kinds: ['AccessBlocked', 'CredentialsRejected', 'CredentialsRejected'],
    });
  });

  it.each(BROKEN)('that says 200 holds no token: %s', async (_, changes) => {
    const kind = changes.kept === undefined ? 'UnexpectedResponse' : 'ServerUnavailable';
    expect(await kindsOf(asSent({ ...changes, status: 200 }))).toEqual({
      requests: 3,
      kinds: [kind, kind, kind],
    });
  });

  it('is read once and never taken for an unreachable host, for any body, encoding and cut', async () => {
    const status = fc.constantFrom(200, 204, 302, 400, 401, 403, 404, 423, 429, 500, 503, 599);
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.constantFrom(GRANT, gzipSync(GRANT), brotliCompressSync(GRANT)),
    );
    const sent = fc.record({
      status,
      body,
      encoding: fc.constantFrom(undefined, 'gzip', 'GZIP', 'br', 'deflate', 'identity', 'x, y'),
      kept: fc.nat(200),
      end: fc.constantFrom('reset' as const, 'close' as const),
    });
    await fc.assert(
      fc.asyncProperty(sent, async (each) => {
        const { requests, kinds } = await kindsOf(each);
        expect(requests).toBe(3);
        expect(kinds).not.toContain('NetworkError');
        expect(kinds).not.toContain('InternalError');
      }),
      { numRuns: runs(60) },
    );
  });
});
