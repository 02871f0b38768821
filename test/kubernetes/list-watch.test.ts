import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { ApiError, BODY_TOO_LARGE } from '../../src/kubernetes/api-error.ts';
import { MAX_OBJECT } from '../../src/kubernetes/json-lines.ts';
import { credentialListWatch, secretListWatch } from '../../src/kubernetes/list-watch.ts';
import type { RestClient } from '../../src/kubernetes/rest-client.ts';
import { WatchError } from '../../src/lib/list-watch.ts';
import { runs } from '../support/runs.ts';
import { collect, never } from '../support/streams.ts';
import { type Answer, type Asked, startScriptedApiServer, status } from './scripted-api-server.ts';

const secret = (name: string, resourceVersion: string): object => ({
  kind: 'PartialObjectMetadata',
  metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion },
});

const known = (name: string, resourceVersion: string): object => ({
  namespace: 'shop',
  name,
  meta: { uid: `uid-${name}`, resourceVersion },
});

const events =
  (...lines: object[]): Answer =>
  (response) =>
    response.end(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));

/** Lists one Secret of each size, and cuts a page that is larger than the largest object. */
function serverOf(sizes: readonly number[]) {
  const asked: number[] = [];
  const restClient: RestClient = {
    async request({ query = {} }) {
      const [from, limit] = [Number(query['continue'] ?? 0), Number(query['limit'])];
      asked.push(limit);
      const page = sizes.slice(from, from + limit);
      const bytes = page.reduce((sum, size) => sum + size, 0);
      if (bytes > MAX_OBJECT) return ApiError.network(BODY_TOO_LARGE);
      const end = from + page.length;
      const metadata = { resourceVersion: '9', continue: end < sizes.length ? String(end) : '' };
      return {
        status: 200,
        body: { metadata, items: page.map((_, at) => secret(`s${from + at}`, '1')) },
      };
    },
    stream: () => {
      throw new Error('no watch');
    },
    close: () => Promise.resolve(),
  };
  return { restClient, asked };
}

describe('a list', () => {
  it('comes in pages, and of Secrets only the metadata is asked for', async () => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      const isFirst = request.query['continue'] === undefined;
      return {
        body: {
          metadata: { resourceVersion: '10', continue: isFirst ? 'more' : '' },
          items: isFirst ? [secret('a', '1'), { metadata: {} }, null] : [secret('b', '2')],
        },
      };
    });
    const secrets = secretListWatch(server.restClient, {});
    expect(await secrets.list(undefined, never)).toEqual({
      items: [known('a', '1')],
      resourceVersion: '10',
      continue: 'more',
    });
    expect(await secrets.list('more', never)).toEqual({
      items: [known('b', '2')],
      resourceVersion: '10',
    });
    expect(asked.map(({ path, query }) => ({ path, query }))).toEqual([
      { path: '/api/v1/secrets', query: { limit: '200' } },
      { path: '/api/v1/secrets', query: { limit: '200', continue: 'more' } },
    ]);
    const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
    expect(asked[0]?.headers.accept).toBe(accept);
  });

  it('keeps to a namespace and a selector', async () => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      return { body: { metadata: { resourceVersion: '1' }, items: [] } };
    });
    const scope = { namespace: 'shop', labelSelector: 'shard=1' };
    await credentialListWatch(server.restClient, scope).list(undefined, never);
    expect(asked[0]).toMatchObject({
      path: '/apis/convercus.io/v1alpha1/namespaces/shop/convercuscredentials',
      query: { labelSelector: 'shard=1', limit: '200' },
    });
  });

  it('halves its pages, down to one object, until they fit, and doubles them again', async () => {
    const limits: (string | undefined)[] = [];
    const filler = 'x'.repeat(MAX_OBJECT);
    await using server = await startScriptedApiServer(({ query }) => {
      limits.push(query['limit']);
      const isFirst = query['continue'] === undefined;
      const metadata = { resourceVersion: '1', continue: isFirst ? 'more' : '' };
      return { body: { metadata, items: [secret('a', '1')], filler: fits(query) ? '' : filler } };
    });
    const fits = ({ limit, ...query }: Asked['query']): boolean =>
      Number(limit) <= (query['continue'] === undefined ? 25 : 1);
    const secrets = secretListWatch(server.restClient, {});
    expect((await secrets.list(undefined, never)).items).toEqual([known('a', '1')]);
    expect(limits).toEqual(['200', '100', '50', '25']);
    expect((await secrets.list('more', never)).items).toEqual([known('a', '1')]);
    expect(limits.slice(4)).toEqual(['50', '25', '12', '6', '3', '1']);
    for (let n = 0; n < 6; n += 1) await secrets.list(undefined, never);
    expect(limits.slice(10)).toEqual(['2', '4', '8', '16', '32', '16', '32', '16']);
  });

  it('whose page the server does not send in time begins with half of it when it is tried again', async () => {
    const limits: (string | undefined)[] = [];
    let isSlow = true;
    await using server = await startScriptedApiServer(({ query }) => {
      limits.push(query['limit']);
      if (isSlow) return status(504, 'Timeout');
      return { body: { metadata: { resourceVersion: '1' }, items: [] } };
    });
    const secrets = secretListWatch(server.restClient, {});
    await expect(secrets.list(undefined, never)).rejects.toMatchObject({ reason: { code: '504' } });
    isSlow = false;
    await secrets.list(undefined, never);
    await secrets.list(undefined, never);
    expect(limits).toEqual(['200', '100', '200']);
  });

  it('of one object tells where the server is', async () => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      return { body: { metadata: { resourceVersion: '17', continue: 'more' }, items: [] } };
    });
    const secrets = secretListWatch(server.restClient, { namespace: 'shop' });
    expect(await secrets.latest(never)).toBe('17');
    expect(asked[0]).toMatchObject({
      path: '/api/v1/namespaces/shop/secrets',
      query: { limit: '1' },
    });
  });

  it('fails when a single object does not fit', async () => {
    let asked = 0;
    const filler = 'x'.repeat(MAX_OBJECT);
    await using server = await startScriptedApiServer(() => {
      asked += 1;
      return { body: { metadata: { resourceVersion: '1' }, items: [secret('a', '1')], filler } };
    });
    const list = secretListWatch(server.restClient, {}).list(undefined, never);
    await expect(list).rejects.toMatchObject({ reason: { code: 'BodyTooLarge' } });
    expect(asked).toBe(8);
  });

  it('of objects of any size that etcd takes shows each of them once', async () => {
    const sizes = fc.array(fc.oneof(fc.nat(MAX_OBJECT), fc.nat(10_000)), { maxLength: 400 });
    await fc.assert(
      fc.asyncProperty(sizes, async (sizes) => {
        const { restClient, asked } = serverOf(sizes);
        const secrets = secretListWatch(restClient, {});
        const seen: string[] = [];
        let page = await secrets.list(undefined, never);
        for (;;) {
          seen.push(...page.items.map(({ name }) => name));
          if (page.continue === undefined) break;
          page = await secrets.list(page.continue, never);
        }
        expect(seen).toEqual(sizes.map((_, at) => `s${at}`));
        expect(asked.length).toBeLessThanOrEqual(2 * sizes.length + 8);
      }),
      { numRuns: runs(50) },
    );
  });

  it.each([
    ['an expired page', status(410, 'Expired'), 'gone'],
    ['a missing CRD', status(404, 'NotFound'), { kind: 'ClusterUnavailable' }],
    ['something else', { body: { hello: 'world' } }, { code: 'UnexpectedBody' }],
  ])('that meets %s is a WatchError', async (_, answer: Answer, reason) => {
    await using server = await startScriptedApiServer(() => answer);
    const list = credentialListWatch(server.restClient, {}).list('x', never);
    await expect(list).rejects.toBeInstanceOf(WatchError);
    await expect(list).rejects.toMatchObject({ reason });
  });
});

describe('a watch', () => {
  it('gives events and bookmarks from where the list ended, until the server ends it', async () => {
    const asked: Asked[] = [];
    await using server = await startScriptedApiServer((request) => {
      asked.push(request);
      return events(
        { type: 'ADDED', object: secret('a', '11') },
        { type: 'MODIFIED', object: secret('a', '12') },
        { type: 'SOMETHING', object: {} },
        { type: 'DELETED', object: secret('a', '13') },
        { type: 'BOOKMARK', object: { metadata: { resourceVersion: '20' } } },
      );
    });
    const secrets = secretListWatch(server.restClient, { namespace: 'shop' });
    expect(await collect(secrets.watch('10', 300_500, never))).toEqual([
      { type: 'apply', item: known('a', '11'), resourceVersion: '11' },
      { type: 'apply', item: known('a', '12'), resourceVersion: '12' },
      { type: 'delete', item: known('a', '13'), resourceVersion: '13' },
      { type: 'bookmark', resourceVersion: '20' },
    ]);
    expect(asked[0]).toMatchObject({
      path: '/api/v1/namespaces/shop/secrets',
      query: {
        watch: '1',
        allowWatchBookmarks: 'true',
        resourceVersion: '10',
        timeoutSeconds: '301',
      },
      headers: { accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1' },
    });
  });

  it('takes an event as large as one object', async () => {
    const large = { ...secret('a', '11'), filler: 'x'.repeat(MAX_OBJECT - 1_000) };
    await using server = await startScriptedApiServer(() =>
      events({ type: 'ADDED', object: large }),
    );
    const watch = secretListWatch(server.restClient, {}).watch('10', 1_000, never);
    expect(await collect(watch)).toMatchObject([{ item: known('a', '11') }]);
  });

  it.each([
    ['as an event', events({ type: 'ERROR', object: { code: 410, reason: 'Expired' } }), 'gone'],
    ['as an answer', status(410, 'Gone'), 'gone'],
  ])('whose place is forgotten, said %s, is gone', async (_, answer, reason) => {
    await using server = await startScriptedApiServer(() => answer);
    const watch = collect(secretListWatch(server.restClient, {}).watch('1', 1_000, never));
    await expect(watch).rejects.toMatchObject({ reason });
  });

  it.each<[string, Answer, string]>([
    ['an error event', events({ type: 'ERROR', object: { code: 500, reason: 'Internal' } }), '500'],
    ['an error event without words', events({ type: 'ERROR' }), '500'],
    ['a refusal', status(403, 'Forbidden'), '403'],
    ['a line that is no JSON', (response) => response.end('{"a\n'), 'UnexpectedBody'],
    ['a broken connection', (response) => response.destroy(), 'UND_ERR_SOCKET'],
  ])('ends with a failure on %s', async (_, answer, code) => {
    await using server = await startScriptedApiServer(() => answer);
    const watch = collect(secretListWatch(server.restClient, {}).watch('1', 1_000, never));
    await expect(watch).rejects.toBeInstanceOf(WatchError);
    const kind = code === '403' ? 'PermissionDenied' : 'ClusterUnavailable';
    await expect(watch).rejects.toMatchObject({ reason: { kind, code } });
  });

  it('ends with the reason of the caller who gives up', async () => {
    const controller = new AbortController();
    await using server = await startScriptedApiServer(() => () => {
      controller.abort(new Error('stop'));
    });
    const secrets = secretListWatch(server.restClient, {});
    const watch = collect(secrets.watch('1', 1_000, controller.signal));
    await expect(watch).rejects.toThrow('stop');
  });
});
