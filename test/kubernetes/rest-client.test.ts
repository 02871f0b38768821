import { readFile, writeFile } from 'node:fs/promises';
import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiRequest } from '../../src/kubernetes/rest-client.ts';
import { createRestClient } from '../../src/kubernetes/rest-client.ts';
import { collect, never } from '../support/streams.ts';
import { undiciSockets } from '../support/undici-sockets.ts';
import { type Asked, startScriptedApiServer, status } from './scripted-api-server.ts';

const get = (rest: Partial<ApiRequest> = {}): ApiRequest => ({
  method: 'GET',
  path: '/api/v1/secrets',
  signal: never,
  ...rest,
});

describe('a request', () => {
  it('carries path, query, body and credentials, and brings back the JSON of the answer', async () => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      return { status: 201, body: { kind: 'Thing' } };
    });
    const answer = await server.restClient.request({
      method: 'PATCH',
      path: '/apis/a/b',
      query: { fieldManager: 'x y', force: 'true' },
      body: { name: 'ä' },
      contentType: 'application/apply-patch+yaml',
      accept: 'application/json;as=PartialObjectMetadata',
      signal: never,
    });
    expect(answer).toMatchObject({ status: 201, body: { kind: 'Thing' } });
    expect(asked).toMatchObject([
      {
        method: 'PATCH',
        path: '/apis/a/b',
        query: { fieldManager: 'x y', force: 'true' },
        body: '{"name":"ä"}',
        headers: {
          authorization: 'Bearer first',
          accept: 'application/json;as=PartialObjectMetadata',
          'content-type': 'application/apply-patch+yaml',
          'user-agent': 'convercus-operator/test',
        },
      },
    ]);
    expect(server.reported).toEqual([`PATCH ${server.host} 201`]);
  });

  it('shares connections with those before it', async () => {
    await using server = await startScriptedApiServer(() => ({}));
    for (let i = 0; i < 20; i += 1) await server.restClient.request(get());
    expect(server.connections()).toBeLessThan(3);
  });

  it('leaves nothing in memory of a connection that is closed', async () => {
    await using server = await startScriptedApiServer(() => ({ headers: { connection: 'close' } }));
    using sockets = undiciSockets();
    for (let i = 0; i < 20; i += 1) await server.restClient.request(get());
    expect(sockets.connected()).toBe(20);
    expect(await sockets.inMemory()).toBeLessThan(5);
  });

  it('that is refused is an ApiError which shows nothing of the answer when printed', async () => {
    await using server = await startScriptedApiServer(() => ({
      status: 422,
      headers: { 'retry-after': '7', 'x-secret': 'hunter2' },
      body: {
        reason: 'Invalid',
        message: 'hunter2 is no value',
        details: { causes: [{ field: 'data', reason: 'FieldValueInvalid', message: 'hunter2' }] },
      },
    }));
    const error = await server.restClient.request(get());
    expect(error).toMatchObject({
      code: 422,
      reason: 'Invalid',
      retryAfter: 7_000,
      causes: [{ field: 'data', reason: 'FieldValueInvalid' }],
    });
    expect(error instanceof ApiError && error.detail.reveal()).toBe('hunter2 is no value');
    expect(inspect(error) + JSON.stringify(error)).not.toContain('hunter2');
  });

  it.each([
    ['a refusal without JSON', { code: 502, reason: '' }, 502, '<html>hunter2</html>'],
    ['an answer without JSON', { code: 0, reason: 'UnexpectedBody' }, 200, 'hunter2'],
  ])('takes %s', async (_, expected, code, text) => {
    await using server = await startScriptedApiServer(() => (response) => {
      response.writeHead(code).end(text);
    });
    expect(await server.restClient.request(get())).toMatchObject(expected);
  });

  it('without an answer in time is an ApiError', async () => {
    await using server = await startScriptedApiServer(() => () => {});
    const error = await server.restClient.request(get({ timeout: 50 }));
    expect(error).toMatchObject({ code: 0, reason: 'TIMEOUT' });
  });

  it('whose answer trickles in for longer than that is an ApiError too', async () => {
    await using server = await startScriptedApiServer(() => (response) => {
      const timer = setInterval(() => response.write(' '), 10);
      response.on('close', () => clearInterval(timer));
    });
    const error = await server.restClient.request(get({ timeout: 100 }));
    expect(error).toMatchObject({ code: 0, reason: 'TIMEOUT' });
  });

  it('to no server is an ApiError with the code of the network error', async () => {
    const server = await startScriptedApiServer(() => ({}));
    const closed = createRestClient({ kubeconfigPath: server.kubeconfigPath, userAgent: 'x' });
    await closed.request(get());
    await server[Symbol.asyncDispose]();
    expect(await closed.request(get())).toMatchObject({ code: 0, reason: 'ECONNREFUSED' });
    await closed.close();
  });

  it('is cut when the transport closes', async () => {
    await using server = await startScriptedApiServer(() => () => undefined);
    const first = server.restClient.request(get());
    while (server.connections() < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    await server.restClient.close();
    expect(await first).toMatchObject({ code: 0, reason: 'UND_ERR_DESTROYED' });
  });

  it('without credentials says no more than that', async () => {
    await using server = await startScriptedApiServer(() => ({}));
    const kubeconfig: object = JSON.parse(await readFile(server.kubeconfigPath, 'utf8'));
    const exec = { apiVersion: 'v1', command: 'sh', args: ['-c', 'echo hunter2 >&2; exit 1'] };
    const users = [{ name: 'u', user: { exec } }];
    await writeFile(server.kubeconfigPath, JSON.stringify({ ...kubeconfig, users }));
    const { kubeconfigPath } = server;
    const restClient = createRestClient({ kubeconfigPath, userAgent: 'x' });
    const error = await restClient.request(get());
    expect(error).toMatchObject({ code: 0, reason: 'NoCredentials' });
    expect(inspect(error)).not.toContain('hunter2');
    await expect(collect(restClient.stream(get()))).rejects.toThrow('NoCredentials');
    await restClient.close();
  });

  it('rejects with the reason of the caller who gives up', async () => {
    const controller = new AbortController();
    const reason = new Error('the Lease is lost');
    await using server = await startScriptedApiServer(() => () => controller.abort(reason));
    const request = server.restClient.request(get({ signal: controller.signal }));
    await expect(request).rejects.toBe(reason);
    const another = server.restClient.request(get({ signal: controller.signal }));
    await expect(another).rejects.toBe(reason);
  });

  it('is not written when that is forbidden while its connection is made', async () => {
    const asked: string[] = [];
    await using server = await startScriptedApiServer(({ path }) => {
      asked.push(path);
      return {};
    });
    let isLost = false;
    const beforeSend = (): void => {
      if (isLost) throw new Error('the Lease is lost');
      queueMicrotask(() => {
        isLost = true;
      });
    };
    const refused = await server.restClient.request(get({ path: '/refused', beforeSend }));
    expect(refused).toBeInstanceOf(ApiError);
    expect(await server.restClient.request(get({ path: '/next' }))).toMatchObject({ status: 200 });
    expect(asked).toEqual(['/next']);
    expect(server.connections()).toBe(1);
  });

  it('with an endless answer is cut off', async () => {
    const block = Buffer.alloc(1024 * 1024, ' ');
    await using server = await startScriptedApiServer(() => (response) => {
      const more = (): void => {
        if (!response.destroyed) response.write(block, () => setImmediate(more));
      };
      more();
    });
    expect(await server.restClient.request(get())).toMatchObject({ reason: 'BodyTooLarge' });
  });

  it.each([
    ['GET', { status: 200 }, 2],
    ['POST', { code: 0, reason: 'UND_ERR_SOCKET' }, 1],
  ] as const)(
    '%s over a connection that the server has closed',
    async (method, expected, times) => {
      let requests = 0;
      await using server = await startScriptedApiServer(() => {
        requests += 1;
        return requests === 1 ? (response) => response.destroy() : {};
      });
      expect(await server.restClient.request(get({ method }))).toMatchObject(expected);
      expect(requests).toBe(times);
    },
  );

  it('reads the token again when the server refuses it', async () => {
    await using server = await startScriptedApiServer(({ headers }) =>
      headers.authorization === 'Bearer second' ? {} : status(401, 'Unauthorized'),
    );
    await server.setToken('second');
    expect(await server.restClient.request(get())).toMatchObject({ status: 200 });
    await server.setToken('first');
    const refused = await startScriptedApiServer(() => status(401, 'Unauthorized'));
    await refused.restClient.request(get());
    await refused.restClient.request(get());
    expect(refused.reported).toHaveLength(3);
    await refused[Symbol.asyncDispose]();
  });
});

describe('a stream', () => {
  it('gives JSON lines as they come', async () => {
    await using server = await startScriptedApiServer(() => (response) => {
      response.write('{"a":1}\n{"a":');
      response.end('2}\n');
    });
    expect(await collect(server.restClient.stream(get()))).toEqual([{ a: 1 }, { a: 2 }]);
  });

  it('that is refused at endless length is cut off', async () => {
    const block = Buffer.alloc(1024 * 1024, ' ');
    await using server = await startScriptedApiServer(() => (response) => {
      response.writeHead(403);
      const more = (): void => {
        if (!response.destroyed) response.write(block, () => setImmediate(more));
      };
      more();
    });
    const lines = collect(server.restClient.stream(get()));
    await expect(lines).rejects.toMatchObject({ code: 403, reason: '' });
  });

  it('lets go of its connection when its reader stops', async () => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    await using server = await startScriptedApiServer(() => (response) => {
      response.on('close', resolve);
      response.write('1\n2\n');
    });
    for await (const line of server.restClient.stream(get())) {
      expect(line).toBe(1);
      break;
    }
    await closed;
  });

  it.each([
    ['refused', { code: 403, reason: 'Forbidden' }, status(403, 'Forbidden')],
    [
      'broken off',
      { code: 0, reason: 'UND_ERR_SOCKET' },
      (response: { write(text: string): void; destroy(): void }) => {
        response.write('1\n');
        setImmediate(() => response.destroy());
      },
    ],
  ])('that is %s rejects with an ApiError', async (_, expected, answer) => {
    await using server = await startScriptedApiServer(() => answer);
    const lines = collect(server.restClient.stream(get()));
    await expect(lines).rejects.toBeInstanceOf(ApiError);
    await expect(lines).rejects.toMatchObject(expected);
  });

  it('rejects with the reason of the caller who gives up', async () => {
    const controller = new AbortController();
    await using server = await startScriptedApiServer(() => (response) => response.write('1\n'));
    const stream = server.restClient.stream(get({ signal: controller.signal }));
    const read = async (): Promise<void> => {
      for await (const _ of stream) controller.abort(new Error('enough'));
    };
    await expect(read()).rejects.toThrow('enough');
  });
});
