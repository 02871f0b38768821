import { getEventListeners } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { promiseHooks } from 'node:v8';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Failure, isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import type { EndpointRequest } from '../../src/oauth/grants.ts';
import type { HttpClient } from '../../src/oauth/http-client.ts';
import { aRequest, aSource, freeEverything, GOOD } from './lab.ts';

afterEach(freeEverything);

const TOKEN_URL = 'https://auth.test/realms/abc-staging/token';
const PASSWORD = { username: new Sensitive('user'), password: new Sensitive('right') };
const REFRESH_TOKEN = new Sensitive('spent');

const GRANTS: Record<EndpointRequest['grantType'], EndpointRequest> = {
  client_credentials: aRequest(TOKEN_URL),
  password: { ...aRequest(TOKEN_URL), grantType: 'password', ...PASSWORD },
  refresh_token: {
    ...aRequest(TOKEN_URL),
    grantType: 'refresh_token',
    refreshToken: REFRESH_TOKEN,
  },
};

const responding =
  (status: number, text = '', contentType = 'application/json'): HttpClient['send'] =>
  async () => {
    await setImmediate();
    const response = { status, contentType, text };
    return { response, requestedAt: 0, receivedAt: 0 };
  };

const failing = (error: unknown): HttpClient['send'] => {
  return async () => {
    await setImmediate();
    throw error;
  };
};

const CA_FILE = new Failure('TLSError', 'caFile is no certificate');

const SENDS: readonly [what: string, outcome: string, HttpClient['send']][] = [
  ['a token', 'a token', responding(200, GOOD)],
  ['no body', 'UnexpectedResponse', responding(200)],
  ['a status without a body', 'UnexpectedResponse', responding(204)],
  ['a redirect', 'UnexpectedRedirect', responding(302)],
  ['an OAuth error', 'InvalidScope', responding(400, '{"error":"invalid_scope"}')],
  ['prose', 'RealmNotFound', responding(404, '{"error":"Realm does not exist"}')],
  ['a page', 'ServerUnavailable', responding(502, '<html>', 'text/html')],
  ['a status that fetch does not know', 'UnexpectedResponse', responding(999)],
  ['a caFile that cannot be used', 'TLSError', async () => CA_FILE],
  ['a network error', 'NetworkError', failing(Object.assign(new Error(), { code: 'EPIPE' }))],
  ['an error without a code', 'InternalError', failing(new Error('a mistake'))],
  [
    'an error at once',
    'InternalError',
    () => {
      throw new TypeError('a mistake');
    },
  ],
];

/**
 * The result of a task, and how many promises that were made for it have not settled. Those with a parent do not count:
 * V8 makes one for each `await`, which never settles.
 */
async function observed<T>(task: () => Promise<T>) {
  const pending = new Set<Promise<unknown>>();
  const stop = promiseHooks.createHook({
    init: (promise, parent) => void (parent === undefined && pending.add(promise)),
    settled: (promise) => void pending.delete(promise),
  });
  const result = await task();
  stop();
  return { result, pending: pending.size };
}

describe.each(Object.values(GRANTS))('a request of the grant $grantType', (request) => {
  const obtaining = (send: HttpClient['send'], signal: AbortSignal) => {
    const client = { send, close: () => Promise.resolve() };
    return aSource({ insecureHttp: false }, { client }).obtain(request, signal);
  };

  it.each(SENDS)(
    'that ends with %s ends as %s, and leaves no promise',
    async (_, outcome, send) => {
      const { signal } = new AbortController();
      const { result, pending } = await observed(() => obtaining(send, signal));
      expect(isFailure(result) ? result.kind : 'a token').toBe(outcome);
      expect([pending, getEventListeners(signal, 'abort').length]).toEqual([0, 0]);
    },
  );
});
