import { beforeEach, describe, expect, it } from '@jest/globals';
import { startInformers } from '../src/informers.ts';
import { ApiError } from '../src/kubernetes/api-error.ts';
import { ClusterCache } from '../src/kubernetes/cache.ts';
import type { ApiRequest, ApiResponse, RestClient } from '../src/kubernetes/rest-client.ts';
import { seconds } from '../src/lib/time.ts';
import { Readiness } from '../src/readiness.ts';
import { aCredential } from './support/builders.ts';
import { FakeClock, settle } from './support/fake-clock.ts';

type Response = ApiResponse | ApiError | 'hang' | Error;

const page = (items: readonly unknown[], more = ''): ApiResponse => ({
  status: 200,
  body: { metadata: { resourceVersion: '1', continue: more }, items },
});

/** Each is how the list of credentials in the namespace `odd` goes. */
const ODD: Readonly<Record<string, (request: ApiRequest) => Response>> = {
  'that is forbidden': () => new ApiError(403, { reason: 'Forbidden' }),
  'that never comes': () => 'hang',
  'without a version': () => ({ status: 200, body: { items: [] } }),
  'that is no object': () => ({ status: 200, body: 'hello' }),
  'that never ends': ({ query }) => page([], `${Number(query?.['continue'] ?? 0) + 1}`),
  'that sends one page again and again': () => page([], 'more'),
  'that is always too old': () => new ApiError(410, { reason: 'Expired' }),
  'whose client throws': () => new TypeError('a bug'),
};

describe('the informers of several namespaces', () => {
  let clock: FakeClock;
  let stop: AbortController;
  let listed: (string | undefined)[];
  let readiness: Readiness;
  let warnings: string[];

  beforeEach(() => {
    clock = new FakeClock();
    stop = new AbortController();
    [listed, warnings] = [[], []];
    readiness = new Readiness(clock);
  });

  function start(odd: (request: ApiRequest) => Response) {
    const shop = aCredential({ metadata: { resourceVersion: '1' } });
    const never = (signal: AbortSignal) =>
      new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    const restClient: RestClient = {
      async request(request) {
        await new Promise<void>((resolve) => clock.after(10, resolve));
        const isOdd = request.path.includes('/odd/convercuscredentials');
        const response = isOdd
          ? odd(request)
          : page(request.path.includes('/shop/convercus') ? [shop] : []);
        if (response === 'hang') return never(request.signal);
        if (response instanceof Error && !(response instanceof ApiError)) throw response;
        return response;
      },
      async *stream({ signal }) {
        yield await never(signal);
      },
      close: () => Promise.resolve(),
    };
    const silent = (): void => undefined;
    const warn = (message: string): void => void warnings.push(message);
    return startInformers(
      restClient,
      { cache: new ClusterCache(() => undefined), clusterCredentials: undefined },
      {
        config: { watch: { namespaces: ['shop', 'odd'], selector: '' } },
        clock,
        random: () => 0.5,
        log: { debug: silent, info: silent, warn, error: silent },
        readiness,
        metrics: { watch: silent },
        onListed: (namespace) => listed.push(namespace),
      },
      stop.signal,
    );
  }

  it.each(Object.entries(ODD))('list one beside a list %s', async (_, odd) => {
    const informers = start(odd);
    let isTried = false;
    const tried = informers.tried.then(() => {
      isTried = true;
      return undefined;
    });
    await clock.advance(seconds(1));
    expect(listed).toEqual(['shop']);
    expect([informers.isListed('shop/loyalty'), informers.isListed('odd/loyalty')]).toEqual([
      true,
      false,
    ]);
    expect(readiness.results.get('credentials in shop')).toBe(true);
    await clock.advance(seconds(30));
    expect(isTried).toBe(true);
    await tried;
    stop.abort();
    await settle();
    await clock.advance(seconds(1));
    await informers.ended;
    expect(clock.timers).toBe(0);
  });

  it('say what is odd about a list that does not end', async () => {
    start(() => page([], 'more'));
    await clock.advance(seconds(5));
    expect(warnings).toEqual(['The API server sends the same page of a list again and again']);
    stop.abort();
  });
});
