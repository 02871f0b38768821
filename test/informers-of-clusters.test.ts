import { describe, expect, it } from '@jest/globals';
import { startInformers } from '../src/informers.ts';
import { ApiError } from '../src/kubernetes/api-error.ts';
import { ClusterCache } from '../src/kubernetes/cache.ts';
import { ClusterCredentials } from '../src/kubernetes/cluster-credentials.ts';
import type { RestClient } from '../src/kubernetes/rest-client.ts';
import type { Key } from '../src/lib/key.ts';
import { seconds } from '../src/lib/time.ts';
import { Readiness } from '../src/readiness.ts';
import { aCredential } from './support/builders.ts';
import { aClusterCredential, SELECTED } from './support/cluster-world.ts';
import { FakeClock } from './support/fake-clock.ts';

const LISTS: Readonly<Record<string, readonly object[]>> = {
  convercuscredentials: [aCredential({ metadata: { resourceVersion: '1' } })],
  clusterconvercuscredentials: [aClusterCredential({ metadata: { resourceVersion: '1' } })],
  namespaces: ['a', 'b'].map((name) => ({ metadata: { name, labels: SELECTED } })),
  secrets: [],
};

/** An API server with these lists. */
function start(
  isServed: boolean,
  isRefused: (plural: string) => boolean = () => false,
  isHung: (plural: string) => boolean = () => false,
) {
  const clock = new FakeClock();
  const stop = new AbortController();
  const asked: string[] = [];
  const enqueued: Key[] = [];
  const never = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  const restClient: RestClient = {
    async request({ path, query = {}, signal }) {
      await new Promise<void>((resolve) => clock.after(10, resolve));
      const plural = path.split('/').at(-1) ?? '';
      if (isHung(plural)) await never(signal);
      asked.push([plural, query['labelSelector']].filter((it) => it !== undefined).join(' '));
      if (isRefused(plural)) return new ApiError(403, { reason: 'Forbidden' });
      return { status: 200, body: { metadata: { resourceVersion: '1' }, items: LISTS[plural] } };
    },
    async *stream({ signal }) {
      yield await never(signal);
    },
    close: () => Promise.resolve(),
  };
  const enqueue = (keys: Iterable<Key>): void => {
    for (const key of keys) if (informers.isListed(key)) enqueued.push(key);
  };
  const cache = new ClusterCache(enqueue, isServed ? 'ops' : undefined);
  const clusterCredentials = isServed
    ? new ClusterCredentials({ namespace: 'ops', instances: cache, enqueue })
    : undefined;
  const silent = (): void => undefined;
  const readiness = new Readiness(clock);
  const informers = startInformers(
    restClient,
    { cache, clusterCredentials },
    {
      config: { watch: { namespaces: [], selector: 'team=a' } },
      clock,
      random: () => 0.5,
      log: { debug: silent, info: silent, warn: silent, error: silent },
      readiness,
      metrics: { watch: silent },
      onListed: () => enqueue([...cache.keys(), ...(clusterCredentials?.keys() ?? [])]),
    },
    stop.signal,
  );
  return { clock, stop, asked, enqueued, readiness, informers };
}

describe('the informers', () => {
  it('ask for nothing more while cluster credentials are not served', async () => {
    const { clock, stop, asked, readiness } = start(false);
    await clock.advance(seconds(1));
    expect(asked).toEqual(['convercuscredentials team=a', 'secrets']);
    expect([...readiness.results.keys()]).toEqual(['credentials', 'secrets', 'writes']);
    stop.abort();
  });

  it('list cluster credentials and namespaces before Secrets', async () => {
    const { clock, stop, asked, enqueued } = start(true);
    await clock.advance(seconds(1));
    expect(asked.slice(0, 3).sort()).toEqual([
      'clusterconvercuscredentials team=a',
      'convercuscredentials team=a',
      'namespaces',
    ]);
    expect(asked.slice(3)).toEqual(['secrets']);
    expect(new Set(enqueued)).toEqual(
      new Set([
        'shop/loyalty',
        'a/ClusterConvercusCredential/loyalty',
        'b/ClusterConvercusCredential/loyalty',
        '/ClusterConvercusCredential/loyalty',
      ]),
    );
    stop.abort();
  });

  it.each(['namespaces', 'clusterconvercuscredentials'])(
    'serve credentials all the same when %s may not be listed',
    async (refused) => {
      const { clock, stop, enqueued, readiness, informers } = start(
        true,
        (plural) => plural === refused,
      );
      await clock.advance(seconds(3));
      expect(new Set(enqueued)).toEqual(new Set(['shop/loyalty']));
      expect(informers.isListed('a/ClusterConvercusCredential/loyalty')).toBe(false);
      const name = refused === 'namespaces' ? 'namespaces' : 'cluster credentials';
      expect(readiness.results.get(name)).toEqual({
        degraded: expect.stringContaining(`is not allowed to list ${refused}`),
      });
      stop.abort();
    },
  );

  it('are not ready while Secrets wait for a list that hangs', async () => {
    const { clock, stop, asked, readiness } = start(
      true,
      () => false,
      (plural) => plural === 'namespaces',
    );
    await clock.advance(seconds(20));
    expect(asked).not.toContain('secrets');
    expect(readiness.results.get('secrets')).toBe('the first list is not complete yet');
    stop.abort();
  });
});
