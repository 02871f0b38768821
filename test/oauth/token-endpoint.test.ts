import type { ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { minutes, seconds } from '../../src/lib/time.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { runs } from '../support/runs.ts';
import {
  aRequest,
  aSource,
  formOf,
  freeEverything,
  GOOD,
  respondWith,
  serve,
  UNKNOWN_NAME,
} from './lab.ts';

afterEach(freeEverything);

const kindOf = (result: object) => (isFailure(result) ? result.kind : 'a token');

describe('a token request', () => {
  it('presents the client as form fields and asks for JSON', async () => {
    const asked = Promise.withResolvers<unknown>();
    const { tokenUrl } = await serve(async (request, response) => {
      const { method, url, headers } = request;
      const form = Object.fromEntries(await formOf(request));
      const { accept, authorization, 'user-agent': agent, 'content-type': type } = headers;
      asked.resolve({ method, url, form, accept, authorization, agent, type });
      response.writeHead(200, { 'Content-Type': 'application/json' }).end(GOOD);
    });
    await aSource().obtain(aRequest(tokenUrl));
    expect(await asked.promise).toEqual({
      method: 'POST',
      url: '/realms/abc-staging/token',
      form: {
        grant_type: 'client_credentials',
        client_id: 'machine-2-machine',
        client_secret: 'correct horse',
        scope: 'openid',
      },
      accept: 'application/json',
      authorization: undefined,
      agent: 'convercus-operator/test',
      type: 'application/x-www-form-urlencoded;charset=UTF-8',
    });
  });

  it.each(['service-account-app', 'Service-Account-App'])(
    'by password for %s is rejected when an older Keycloak breaks at it',
    async (username) => {
      const { tokenUrl } = await serve(respondWith(500, '{"error":"unknown_error"}'));
      const user = { username: new Sensitive(username), password: new Sensitive('mistyped') };
      const request = { ...aRequest(tokenUrl), ...user, grantType: 'password' as const };
      expect(kindOf(await aSource().obtain(request))).toBe('CredentialsRejected');
    },
  );

  it('yields a token and a report', async () => {
    const { tokenUrl, port } = await serve(respondWith(200, GOOD));
    const { obtain, reports, time } = aSource();
    const token = await obtain(aRequest(tokenUrl));
    expect(token).toMatchObject({
      issuedAt: time.now,
      expiresAt: time.now + minutes(30),
      jitter: 0.5,
      scope: 'openid',
    });
    expect(inspect(token)).not.toContain('abc');
    expect(reports).toMatchObject([
      {
        host: `127.0.0.1:${port}`,
        grantType: 'client_credentials',
        outcome: 'success',
        seconds: 0,
      },
    ]);
  });

  it('sends no empty scope', async () => {
    const { tokenUrl } = await serve(async (request, response) => {
      const hasScope = (await formOf(request)).has('scope');
      respondWith(hasScope ? 400 : 200, GOOD)(request, response);
    });
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl, { scope: '' })))).toBe('a token');
  });

  it('does not mind an id_token by another issuer and of another time', async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { iss: 'https://elsewhere.test', aud: 'someone', sub: 'x', iat: 1, exp: 2 };
    const id_token = `${part({ alg: 'HS512' })}.${part(claims)}.c2ln`;
    const body = JSON.stringify({ ...JSON.parse(GOOD), id_token, expires_in: '1800', scope: 7 });
    const { tokenUrl } = await serve(respondWith(200, body));
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('a token');
  });

  it('reuses its connections, and opens no more than four', async () => {
    const { tokenUrl, seen } = await serve(respondWith(200, GOOD));
    const { obtain } = aSource();
    for (let i = 0; i < 5; i++) await obtain(aRequest(tokenUrl));
    expect(seen.connections).toBeLessThanOrEqual(2);
    await Promise.all(Array.from({ length: 20 }, () => obtain(aRequest(tokenUrl))));
    expect(seen.requests).toBe(25);
    expect(seen.connections).toBeLessThanOrEqual(4);
  });

  it('reports how far the clocks are apart', async () => {
    const { tokenUrl } = await serve(
      respondWith(200, GOOD, { Date: 'Sun, 01 Mar 2026 12:02:00 GMT' }),
    );
    const { obtain, reports } = aSource();
    await obtain(aRequest(tokenUrl));
    expect(reports).toMatchObject([{ skew: seconds(120) }]);
  });

  it('never goes out over plain HTTP unless the environment allows it', async () => {
    const { tokenUrl, port, seen } = await serve(respondWith(200, GOOD));
    const result = await aSource({ insecureHttp: false }).obtain(aRequest(tokenUrl));
    expect(result).toMatchObject({
      kind: 'InsecureEndpoint',
      message:
        `127.0.0.1:${port} is not asked over plain HTTP. ` +
        'Use an https:// tokenUrl, or set insecureHttp for the environment.',
    });
    expect(seen.connections).toBe(0);
  });

  it('for an environment that is not configured is an InvalidSpec', async () => {
    const request = aRequest('https://auth.test/token', { environment: 'moon' });
    expect(kindOf(await aSource().obtain(request))).toBe('InvalidSpec');
  });

  it('that openid-client refuses to build is an InternalError without its words', async () => {
    const request = aRequest('http://127.0.0.1/token', { clientId: '' });
    const result = await aSource().obtain(request);
    expect(result).toMatchObject({ kind: 'InternalError', code: 'ERR_INVALID_ARG_TYPE' });
  });

  it('to no URL at all is an InternalError', async () => {
    expect(kindOf(await aSource().obtain(aRequest('somewhere')))).toBe('InternalError');
  });
});

describe('a response', () => {
  const HTML = { 'Content-Type': 'text/html' };
  it.each([
    {
      what: 'an OAuth error',
      status: 401,
      body: '{"error":"unauthorized_client"}',
      kind: 'ClientSecretRejected',
    },
    {
      what: 'an unknown realm',
      status: 404,
      body: '{"error":"Realm does not exist"}',
      kind: 'RealmNotFound',
    },
    { what: 'HTML', status: 200, body: '<html>', headers: HTML, kind: 'UnexpectedResponse' },
    {
      what: 'HTML of a proxy',
      status: 502,
      body: '<html>',
      headers: HTML,
      kind: 'ServerUnavailable',
    },
    {
      what: 'an error with 5xx',
      status: 500,
      body: '{"error":"unknown_error"}',
      kind: 'ServerUnavailable',
    },
    {
      what: 'a challenge',
      status: 401,
      headers: { 'WWW-Authenticate': 'Bearer' },
      kind: 'AccessBlocked',
    },
    { what: 'nothing', status: 200, kind: 'UnexpectedResponse' },
    {
      what: 'half of a JSON text',
      status: 200,
      body: '{"access_token":',
      kind: 'UnexpectedResponse',
    },
    {
      what: 'no gzip under its name',
      status: 200,
      headers: { 'Content-Encoding': 'gzip' },
      body: 'x'.repeat(99),
      kind: 'UnexpectedResponse',
    },
  ])('of $what becomes a failure after a single request', async (row) => {
    const { tokenUrl, seen } = await serve(respondWith(row.status, row.body ?? '', row.headers));
    const { obtain, reports } = aSource();
    expect(kindOf(await obtain(aRequest(tokenUrl)))).toBe(row.kind);
    expect(seen.requests).toBe(1);
    expect(reports).toMatchObject([{ outcome: row.kind }]);
  });

  it('without a content type is no token', async () => {
    const { tokenUrl } = await serve((_request, response) => response.end(GOOD));
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('UnexpectedResponse');
  });

  it.each([301, 302, 303, 307, 308])('that redirects (%d) is not followed', async (status) => {
    const target = await serve(respondWith(200, GOOD));
    const { tokenUrl } = await serve(respondWith(status, '', { Location: target.tokenUrl }));
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('UnexpectedRedirect');
    expect(target.seen.connections).toBe(0);
  });

  it('carries the Retry-After of the server', async () => {
    const { tokenUrl } = await serve(respondWith(429, '', { 'Retry-After': '17' }));
    expect(await aSource().obtain(aRequest(tokenUrl))).toMatchObject({
      kind: 'RateLimited',
      retryAfter: seconds(17),
    });
  });

  it('may be compressed', async () => {
    const { tokenUrl } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
      response.end(gzipSync(GOOD));
    });
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('a token');
  });

  it('of 100 MB is cut off soon after 64 KiB', async () => {
    const sent = Promise.withResolvers<number>();
    const { tokenUrl } = await serve(({ socket }, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      let left = 100;
      const more = () => {
        while (left > 0 && response.write('a'.repeat(1024 * 1024))) left -= 1;
        left -= 1;
      };
      response.on('drain', more);
      response.on('close', () => sent.resolve(socket.bytesWritten));
      more();
    });
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('UnexpectedResponse');
    expect(await sent.promise).toBeLessThan(20 * 1024 * 1024);
  });

  it('that unpacks to 100 MB is cut off as well', async () => {
    const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024));
    const { tokenUrl } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
      response.end(bomb);
    });
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('UnexpectedResponse');
  });
});

describe('the network', () => {
  const resetting = (times: number) => {
    let left = times;
    return serve((request, response) => {
      left -= 1;
      if (left >= 0) request.socket.resetAndDestroy();
      else respondWith(200, GOOD)(request, response);
    });
  };

  it('may cut two connections', async () => {
    const { tokenUrl, seen } = await resetting(2);
    expect(kindOf(await aSource().obtain(aRequest(tokenUrl)))).toBe('a token');
    expect(seen.requests).toBe(3);
  });

  it('is left alone after the third cut, and reported once', async () => {
    const { tokenUrl, seen } = await resetting(9);
    const { obtain, reports } = aSource();
    const result = await obtain(aRequest(tokenUrl));
    expect(result).toMatchObject({ kind: 'NetworkError', code: 'ECONNRESET' });
    expect([seen.requests, reports.length]).toEqual([3, 1]);
  });

  it.each([
    [8_500, 2],
    [9_000, 1],
  ])('that is cut after %i ms of 10 s is sent %i times', async (after, times) => {
    const { tokenUrl, seen } = await serve((request) => {
      passTime(after);
      request.socket.resetAndDestroy();
    });
    const { obtain, passTime } = aSource();
    expect(await obtain(aRequest(tokenUrl))).toMatchObject({ code: 'ECONNRESET' });
    expect(seen.requests).toBe(times);
  });

  it('that refuses the connection is named with host and code', async () => {
    const { port } = await serve(respondWith(200, GOOD));
    await freeEverything();
    const result = await aSource().obtain(aRequest(`http://127.0.0.1:${port}/token`));
    expect(result).toMatchObject({
      kind: 'NetworkError',
      code: 'ECONNREFUSED',
      message: expect.stringContaining(`127.0.0.1:${port} cannot be reached`),
    });
  });

  it('may not know the name', async () => {
    const result = await aSource().obtain(aRequest(`http://${UNKNOWN_NAME}/token`));
    expect(result).toMatchObject({
      kind: 'NetworkError',
      code: 'ENOTFOUND',
    });
  });

  it('with a server that never responds is given up after the whole time allowed', async () => {
    const { tokenUrl, seen } = await serve(() => {});
    const { obtain } = aSource({}, { timeouts: { connect: 2_000, total: 1_000 } });
    expect(await obtain(aRequest(tokenUrl))).toMatchObject({
      kind: 'NetworkError',
      code: 'TIMEOUT',
    });
    expect(seen.requests).toBe(1);
  });

  it.each([
    ['stops after the headers', (response: ServerResponse) => response.flushHeaders()],
    ['stops within the body', (response: ServerResponse) => response.write('{"access_token":"')],
    [
      'cuts the body short',
      (response: ServerResponse) => response.write('{"access_token":"', () => response.destroy()),
    ],
  ])('with a server that %s ends in a response without a body', async (_, begin) => {
    const { tokenUrl, seen } = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '500' });
      begin(response);
    });
    const { obtain } = aSource({}, { timeouts: { connect: 2_000, total: 1_000 } });
    expect(await obtain(aRequest(tokenUrl))).toMatchObject({
      kind: 'ServerUnavailable',
      message: expect.stringContaining('The response was cut off (realm "abc-staging"'),
    });
    expect(seen.requests).toBe(1);
  });

  it('that speaks no HTTP is a failure', async () => {
    const { tokenUrl } = await serve((request) => {
      request.socket.end('SSH-2.0-OpenSSH\r\n');
    });
    expect(await aSource().obtain(aRequest(tokenUrl))).toMatchObject({
      kind: 'NetworkError',
      code: 'NOT_HTTP',
    });
  });
});

describe('an aborted request', () => {
  it('rejects with the reason of the signal and reports nothing', async () => {
    const arrived = Promise.withResolvers<void>();
    const { tokenUrl } = await serve(() => arrived.resolve());
    const { obtain, reports } = aSource();
    const stop = new AbortController();
    const reason = new Error('the operator stops');
    const result = obtain(aRequest(tokenUrl), stop.signal);
    await arrived.promise;
    stop.abort(reason);
    await expect(result).rejects.toBe(reason);
    expect(reports).toEqual([]);
  });

  it('is not sent when the signal has fired before', async () => {
    const { tokenUrl, seen } = await serve(respondWith(200, GOOD));
    const reason = new Error('too late');
    await expect(aSource().obtain(aRequest(tokenUrl), AbortSignal.abort(reason))).rejects.toBe(
      reason,
    );
    expect(seen.connections).toBe(0);
  });
});

describe('a client secret', () => {
  const secrets = fc
    .array(
      fc.oneof(
        fc.constantFrom('%', '&', '+', '=', ' ', '\n', '"', '\\', ':', 'ü', '😀'),
        fc.string({ unit: anyCharacter }),
      ),
      {
        minLength: 6,
      },
    )
    .map((parts) => `canary-${parts.join('')}`.toWellFormed());

  it('arrives as it is, and shows nowhere even if the server echoes it everywhere', async () => {
    let arrived = '';
    let status = 200;
    const { tokenUrl } = await serve(async (request, response) => {
      arrived = (await formOf(request)).get('client_secret') ?? '';
      const body = { error: 'invalid_client', error_description: arrived, token_type: arrived };
      if (status === 404) body.error = arrived;
      const echo = status === 200 ? { ...body, error: undefined, access_token: arrived } : body;
      const header = encodeURIComponent(arrived);
      response.writeHead(status, header, {
        'Content-Type': 'application/json',
        'Retry-After': header,
      });
      response.end(JSON.stringify({ ...echo, [arrived]: arrived }));
      if (status === 503) request.socket.resetAndDestroy();
    });
    const { obtain, reports } = aSource();
    const property = fc.asyncProperty(
      secrets,
      fc.constantFrom(200, 302, 401, 404, 503),
      async (value, code) => {
        status = code;
        const result = await obtain(aRequest(tokenUrl, { clientSecret: new Sensitive(value) }));
        const shown = `${inspect(result, { depth: 9 })} ${JSON.stringify([result, reports])}`;
        const message = isFailure(result) ? result.message : '';
        expect(arrived).toBe(value);
        expect([shown, message].join()).not.toMatch(/canary-./);
      },
    );
    await fc.assert(property, { numRuns: runs(60) });
  });
});
