import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { runInformer } from '../../src/controller/informer.ts';
import { Failure } from '../../src/lib/failure.ts';
import {
  type EventHandler,
  type ListWatch,
  type Page,
  WatchError,
  type WatchEvent,
} from '../../src/lib/list-watch.ts';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

type Event = WatchEvent<string>;
/** What a watch does: after so long an event, a problem, or nothing more (`end`); otherwise it lasts until it is cut. */
type Act = readonly [after: Ms, what: Event | Error | 'end'];

const FORBIDDEN = new Failure('ClusterUnavailable', 'may not list');
const forbidden = () => new WatchError(FORBIDDEN);
const gone = () => new WatchError('gone');
const page = (...items: string[]): Page<string> => ({ items, resourceVersion: '10' });
const apply = (item: string, resourceVersion: string): Event => ({
  type: 'apply',
  item,
  resourceVersion,
});

let clock: FakeClock;
let end: AbortController;

beforeEach(() => {
  clock = new FakeClock();
  end = new AbortController();
});

/** Answers as its script says; after the script: one empty page, and watches without events that end in time. */
class ScriptedSource implements ListWatch<string> {
  readonly calls: string[] = [];
  readonly times: Ms[] = [];
  readonly timeouts: Ms[] = [];
  openWatches = 0;
  /** How often it was asked for its version alone. */
  asked = 0;
  readonly #lists: (Page<string> | Error | 'hang')[];
  readonly #watches: Act[][];

  constructor(lists: (Page<string> | Error | 'hang')[] = [], watches: Act[][] = []) {
    this.#lists = [...lists];
    this.#watches = [...watches];
  }

  async list(continueToken: string | undefined): Promise<Page<string>> {
    this.#note(`list ${continueToken ?? ''}`.trim());
    const response = this.#lists.shift() ?? page();
    if (response === 'hang') return new Promise(() => undefined);
    if (response instanceof Error) throw response;
    return response;
  }

  /** Asked for it, the server is at that version. */
  version = '1000';

  async latest(): Promise<string> {
    this.asked += 1;
    return this.version;
  }

  async *watch(version: string, timeout: Ms, signal: AbortSignal): AsyncGenerator<Event> {
    this.#note(`watch ${version}`);
    this.timeouts.push(timeout);
    this.openWatches += 1;
    try {
      for (const [after, what] of this.#watches.shift() ?? [[timeout, 'end'] as const]) {
        await this.#until(after, signal);
        if (what === 'end') return;
        if (what instanceof Error) throw what;
        yield what;
      }
      await this.#until(undefined, signal);
    } finally {
      this.openWatches -= 1;
    }
  }

  #note(call: string): void {
    this.calls.push(call);
    this.times.push(clock.monotonic());
  }

  #until(after: Ms | undefined, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = after === undefined ? () => undefined : clock.after(after, resolve);
      signal.addEventListener('abort', () => {
        cancel();
        reject(signal.reason);
      });
    });
  }
}

/** Keeps what it sees, as a cache would. */
class Mirror implements EventHandler<string> {
  readonly items = new Set<string>();
  /** The versions of all lists; `!` after those of a server whose history has begun again. */
  readonly lists: string[] = [];
  #listed: Set<string> | undefined;

  init(version: string, isRestored: boolean): void {
    this.lists.push(isRestored ? `${version}!` : version);
    this.#listed = new Set();
  }

  apply(item: string): void {
    if (item === 'poison') throw new TypeError('cannot digest poison');
    this.items.add(item);
    this.#listed?.add(item);
  }

  delete(item: string): void {
    this.items.delete(item);
  }

  initDone(): void {
    for (const item of this.items) if (this.#listed?.has(item) === false) this.items.delete(item);
    this.#listed = undefined;
  }
}

function start(listWatch: ListWatch<string>, random = () => 0.5) {
  const handler = new Mirror();
  const problems: (string | undefined)[] = [];
  const seen = { handler, problems, synced: 0, ended: Promise.resolve() };
  seen.ended = runInformer(
    {
      listWatch,
      handler,
      clock,
      random,
      onSynced: () => {
        seen.synced += 1;
      },
      onError: (failure) => problems.push(failure?.message),
    },
    end.signal,
  );
  return seen;
}

async function finish(
  { ended }: { ended: Promise<void> },
  listWatch: ScriptedSource,
): Promise<void> {
  end.abort();
  await ended;
  await settle();
  expect([clock.timers, listWatch.openWatches]).toEqual([0, 0]);
}

describe('an informer', () => {
  it('lists in pages, is synced once, and watches from the version of the list', async () => {
    const lists = [
      { ...page('a', 'b'), continue: 'p2' },
      { ...page('c'), resourceVersion: '11' },
    ];
    const listWatch = new ScriptedSource(lists, [
      [
        [10, apply('d', '20')],
        [10, { type: 'delete', item: 'a', resourceVersion: '21' }],
      ],
    ]);
    const seen = start(listWatch);
    await settle();
    expect([seen.synced, [...seen.handler.items]]).toEqual([1, ['a', 'b', 'c']]);
    await clock.advance(20);
    expect([...seen.handler.items]).toEqual(['b', 'c', 'd']);
    expect(listWatch.calls).toEqual(['list', 'list p2', 'watch 10']);
    await finish(seen, listWatch);
  });

  it('goes on at once after a clean end, where bookmarks have brought it, without a new list', async () => {
    const listWatch = new ScriptedSource(
      [page('a')],
      [
        [
          [minutes(1), { type: 'bookmark', resourceVersion: '15' }],
          [minutes(4), 'end'],
        ],
        [
          [10, { type: 'bookmark', resourceVersion: '' }],
          [minutes(4), 'end'],
        ],
      ],
    );
    const seen = start(listWatch);
    await clock.advance(minutes(9) + 20);
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 15', 'watch 15']);
    expect(listWatch.times).toEqual([0, 0, minutes(5), minutes(9) + 10]);
    expect([seen.problems, seen.synced]).toEqual([[], 1]);
    await finish(seen, listWatch);
  });

  it.each([
    [0, minutes(5)],
    [0.5, minutes(7.5)],
  ])('asks watches to last five to ten minutes (random %d)', async (random, timeout) => {
    const listWatch = new ScriptedSource();
    const seen = start(listWatch, () => random);
    await settle();
    expect(listWatch.timeouts).toEqual([timeout]);
    await finish(seen, listWatch);
  });

  it('lists again when its version is too old, and drops what is gone', async () => {
    const listWatch = new ScriptedSource(
      [page('a', 'b'), { items: ['b'], resourceVersion: '30' }],
      [[[minutes(1), gone()]]],
    );
    const seen = start(listWatch);
    await clock.advance(minutes(2));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'list', 'watch 30']);
    expect([[...seen.handler.items], seen.synced, seen.problems]).toEqual([['b'], 1, []]);
    await finish(seen, listWatch);
  });

  it('lists again after five minutes without even a bookmark: its version may lie in the future', async () => {
    const lists = [page('a', 'b'), { items: ['b'], resourceVersion: '4' }];
    const listWatch = new ScriptedSource(lists, [
      [[minutes(5), 'end']],
      [
        [minutes(1), { type: 'bookmark', resourceVersion: '5' }],
        [minutes(5), 'end'],
      ],
    ]);
    const seen = start(listWatch);
    await clock.advance(minutes(5) + 1);
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'list', 'watch 4']);
    expect([[...seen.handler.items], seen.problems]).toEqual([['b'], []]);
    await clock.advance(minutes(6));
    expect(listWatch.calls.slice(4)).toEqual(['list', 'watch 10']);
    await finish(seen, listWatch);
  });

  it.each<[string, Act]>([
    ['fails', [minutes(1), new WatchError(new Failure('ClusterUnavailable', 'cut'))]],
    ['ends before its time', [minutes(1), 'end']],
  ])('asks where the server is when a watch %s, and lists when that is behind', async (_, act) => {
    const bookmark: Act = [1, { type: 'bookmark', resourceVersion: '20' }];
    const listWatch = new ScriptedSource([], [[bookmark, act], [act]]);
    const seen = start(listWatch, () => 0);
    listWatch.version = '20';
    await clock.advance(minutes(1) + seconds(1));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 20']);
    listWatch.version = '19';
    await clock.advance(minutes(1) + seconds(1));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 20', 'list', 'watch 10']);
    expect(seen.handler.lists).toEqual(['10', '10!']);
    expect(listWatch.asked).toBe(2);
    await finish(seen, listWatch);
  });

  it('asks for nothing but the watch when that has ended in time', async () => {
    const lasting: Act[] = [
      [minutes(4), { type: 'bookmark', resourceVersion: '20' }],
      [minutes(3.5), 'end'],
    ];
    const listWatch = new ScriptedSource([], [lasting, lasting]);
    const seen = start(listWatch);
    await clock.advance(minutes(16));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 20', 'watch 20']);
    expect(listWatch.asked).toBe(0);
    await finish(seen, listWatch);
  });

  it('takes no clock that is set for silence, or for a watch that was too short', async () => {
    const listWatch = new ScriptedSource(
      [],
      [
        [
          [minutes(1), { type: 'bookmark', resourceVersion: '15' }],
          [minutes(2), 'end'],
        ],
      ],
    );
    const seen = start(listWatch);
    await clock.advance(minutes(2));
    clock.jump(hours(2));
    await clock.advance(minutes(2));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 15']);
    clock.jump(-hours(3));
    await clock.advance(minutes(6));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 15']);
    expect(seen.problems).toEqual([]);
    await finish(seen, listWatch);
  });

  it('lists again when watches fail for five minutes and tell nothing', async () => {
    const cut = new WatchError(new Failure('ClusterUnavailable', 'cut by a proxy'));
    const listWatch = new ScriptedSource(
      [],
      Array.from({ length: 9 }, () => [[minutes(1), cut]]),
    );
    const seen = start(listWatch, () => 0);
    await clock.advance(minutes(6));
    expect(listWatch.calls.slice(0, 6)).toEqual([
      'list',
      ...Array.from({ length: 5 }, () => 'watch 10'),
    ]);
    expect(listWatch.calls.filter((call) => call === 'list')).toHaveLength(2);
    await finish(seen, listWatch);
  });

  it('tells the sink when a list is older than what was seen: etcd was restored from a backup', async () => {
    const lists = [page(), page('a'), { ...page('b'), resourceVersion: '9' }, page('c')];
    const listWatch = new ScriptedSource(lists, [
      [[1, gone()]],
      [
        [1, apply('a', '20')],
        [1, gone()],
      ],
      [[1, gone()]],
    ]);
    const seen = start(listWatch, () => 0);
    await clock.advance(seconds(20));
    expect(seen.handler.lists).toEqual(['10', '10', '9!', '10']);
    await finish(seen, listWatch);
  });

  it('starts its list over when a page has expired', async () => {
    const listWatch = new ScriptedSource([{ ...page('a'), continue: 'p2' }, gone(), page('b')]);
    const seen = start(listWatch);
    await clock.advance(seconds(1));
    expect(listWatch.calls).toEqual(['list', 'list p2', 'list', 'watch 10']);
    expect([...seen.handler.items]).toEqual(['b']);
    await finish(seen, listWatch);
  });

  it('does not list again and again without pauses when every version is too old at once', async () => {
    const listWatch = new ScriptedSource(
      [],
      Array.from({ length: 50 }, () => [[0, gone()]]),
    );
    const seen = start(listWatch, () => 1);
    await clock.advance(minutes(2));
    const lists = listWatch.times.filter((_, index) => listWatch.calls[index] === 'list');
    expect(lists.map((at) => at / 1_000)).toEqual([0, 1, 3, 7, 15, 31, 61, 91]);
    await finish(seen, listWatch);
  });

  const GONE_AGAIN =
    'The API server has dropped the version of a list before it was complete or watched (HTTP 410), again and again';
  const twoPages = { ...page('a'), continue: 'p2' };

  it.each<[string, ScriptedSource]>([
    [
      'each second page',
      new ScriptedSource([twoPages, gone(), twoPages, gone(), twoPages, gone()]),
    ],
    ['each watch', new ScriptedSource([], [[[1, gone()]], [[1, gone()]], [[1, gone()]]])],
  ])('says once that the version is too old for %s, from the second time on', async (_, source) => {
    const seen = start(source, () => 1);
    await clock.advance(seconds(0.5));
    expect(seen.problems).toEqual([]);
    await clock.advance(seconds(4));
    expect(seen.problems).toEqual([GONE_AGAIN]);
    await clock.advance(minutes(10));
    expect(seen.problems).toEqual([GONE_AGAIN, undefined]);
    await finish(seen, source);
  });

  it.each<[string, Act[][]]>([
    [
      'a success',
      [
        [[1, gone()]],
        [
          [1, apply('a', '20')],
          [1, gone()],
        ],
      ],
    ],
    ['another failure', [[[1, gone()]], [[1, forbidden()]], [[1, gone()]]]],
  ])('does not say so of a version that is too old again after %s', async (_, watches) => {
    const source = new ScriptedSource([], watches);
    const seen = start(source, () => 1);
    await clock.advance(minutes(10));
    expect(seen.problems).not.toContain(GONE_AGAIN);
    await finish(seen, source);
  });

  it('backs off between failures, doubling up to half a minute, and says each problem once', async () => {
    const lists = [...Array.from({ length: 7 }, forbidden), new TypeError('a bug'), page('a')];
    const listWatch = new ScriptedSource(lists);
    const seen = start(listWatch, () => 1);
    await clock.advance(minutes(3));
    expect(listWatch.times.slice(0, 9).map((at) => at / 1_000)).toEqual([
      0, 1, 3, 7, 15, 31, 61, 91, 121,
    ]);
    expect(seen.problems).toEqual([
      'may not list',
      'The watch failed for a reason that was not foreseen',
    ]);
    await clock.advance(minutes(10));
    expect(seen.problems.at(-1)).toBeUndefined();
    await finish(seen, listWatch);
  });

  it('says a problem again that comes after the first list and was said before it', async () => {
    const listWatch = new ScriptedSource([forbidden(), page('a')], [[[1_000, forbidden()]]]);
    const seen = start(listWatch, () => 1);
    await clock.advance(seconds(3));
    expect(seen.problems).toEqual(['may not list', undefined, 'may not list']);
    await finish(seen, listWatch);
  });

  it('begins with a short pause again after a success', async () => {
    const listWatch = new ScriptedSource(
      [forbidden(), forbidden(), page()],
      [
        [
          [1, apply('a', '20')],
          [1, forbidden()],
        ],
        [[1, forbidden()]],
      ],
    );
    const seen = start(listWatch, () => 1);
    await clock.advance(seconds(20));
    const watches = listWatch.times.filter((_, index) =>
      listWatch.calls[index]?.startsWith('watch'),
    );
    expect(watches).toEqual([3_000, 4_002, 6_003]);
    expect(seen.problems).toEqual(['may not list', undefined, 'may not list']);
    await finish(seen, listWatch);
  });

  it('does not spin when watches end at once, again and again, however cleanly', async () => {
    const listWatch = new ScriptedSource(
      [],
      Array.from({ length: 99 }, () => [[1, 'end']]),
    );
    const seen = start(listWatch, () => 0);
    await clock.advance(minutes(5));
    expect(listWatch.calls.length).toBeLessThan(30);
    expect(seen.problems).toEqual(['The API server ended the watch as soon as it had begun']);
    await finish(seen, listWatch);
  });

  it('cuts a watch that its server does not end, and opens another', async () => {
    const silent: Act[] = [[minutes(1), apply('a', '12')]];
    const listWatch = new ScriptedSource([], [silent]);
    const seen = start(listWatch, () => 0);
    await clock.advance(minutes(5) + seconds(29));
    expect(listWatch.calls).toEqual(['list', 'watch 10']);
    await clock.advance(seconds(3));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 12']);
    expect(seen.problems).toEqual([
      'The API server did not end the watch when it was to; it has been cut',
    ]);
    expect(listWatch.openWatches).toBe(1);
    await finish(seen, listWatch);
  });

  it('gives up on a list that is never answered, and asks again', async () => {
    const listWatch = new ScriptedSource(['hang', page('a')]);
    const seen = start(listWatch);
    await clock.advance(minutes(1) + seconds(1));
    expect([seen.synced, seen.problems]).toEqual([
      1,
      ['The API server did not answer a list in time'],
    ]);
    await finish(seen, listWatch);
  });

  it('survives a sink that throws, closes that watch, and sees the event again', async () => {
    const listWatch = new ScriptedSource(
      [],
      [[[5, apply('poison', '11')]], [[5, apply('a', '11')]]],
    );
    const seen = start(listWatch);
    await clock.advance(seconds(2));
    expect(listWatch.calls).toEqual(['list', 'watch 10', 'watch 10']);
    expect([[...seen.handler.items], listWatch.openWatches]).toEqual([['a'], 1]);
    await finish(seen, listWatch);
  });

  it.each<[string, ScriptedSource, Ms]>([
    ['a list', new ScriptedSource(['hang']), 5],
    ['a watch', new ScriptedSource(), seconds(5)],
    ['a pause', new ScriptedSource([forbidden()]), 5],
  ])('stops at once in the middle of %s', async (_, listWatch, after) => {
    const seen = start(listWatch);
    await clock.advance(after);
    await finish(seen, listWatch);
    expect(listWatch.calls.length).toBeLessThanOrEqual(2);
  });

  it('does not begin when the signal has fired', async () => {
    const listWatch = new ScriptedSource();
    end.abort();
    await start(listWatch).ended;
    expect(listWatch.calls).toEqual([]);
  });
});

describe('an informer in front of an unreliable server', () => {
  type Trouble = 'none' | 'fails' | 'gone' | 'ends';
  const change = fc.record({
    item: fc.constantFrom('a', 'b', 'c', 'd'),
    exists: fc.boolean(),
    after: fc.integer({ min: 1, max: 20_000 }),
    trouble: fc.constantFrom<Trouble>('none', 'none', 'fails', 'gone', 'ends'),
  });

  /** Keeps a history, serves any version of it that it has not forgotten. */
  class Server implements ListWatch<string> {
    readonly items = new Set<string>();
    calls = 0;
    #history: Event[] = [];
    #forgotten = 0;
    #trouble: Trouble = 'none';
    #changed = Promise.withResolvers<void>();

    apply(item: string, exists: boolean, trouble: Trouble): void {
      if (exists) this.items.add(item);
      else this.items.delete(item);
      const resourceVersion = String(this.#history.length + 1);
      this.#history.push({ type: exists ? 'apply' : 'delete', item, resourceVersion });
      this.#trouble = trouble;
      if (trouble === 'gone') this.#forgotten = this.#history.length;
      this.#changed.resolve();
      this.#changed = Promise.withResolvers();
    }

    async list(continueToken: string | undefined): Promise<Page<string>> {
      this.calls += 1;
      if (this.#trip('fails')) throw forbidden();
      const all = [...this.items];
      const at = Number(continueToken ?? 0);
      const resourceVersion = String(this.#history.length);
      const items = all.slice(at, at + 2);
      return { items, resourceVersion, ...(at + 2 < all.length ? { continue: `${at + 2}` } : {}) };
    }

    async latest(): Promise<string> {
      return String(this.#history.length);
    }

    async *watch(version: string, _timeout: Ms, signal: AbortSignal): AsyncGenerator<Event> {
      this.calls += 1;
      const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
      for (let at = Number(version); !signal.aborted; ) {
        if (at < this.#forgotten || this.#trip('gone')) throw gone();
        if (this.#trip('fails')) throw forbidden();
        if (this.#trip('ends')) return;
        for (const event of this.#history.slice(at)) yield event;
        at = this.#history.length;
        await Promise.race([this.#changed.promise, aborted]);
      }
    }

    #trip(trouble: Trouble): boolean {
      const isNow = this.#trouble === trouble;
      if (isNow) this.#trouble = 'none';
      return isNow;
    }
  }

  it('ends up with exactly what the server holds, and with a bounded number of requests', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 30 }), async (changes) => {
        clock = new FakeClock();
        end = new AbortController();
        const server = new Server();
        const seen = start(server);
        for (const { item, exists, after, trouble } of changes) {
          await clock.advance(after);
          server.apply(item, exists, trouble);
        }
        await clock.advance(minutes(2));
        expect([...seen.handler.items].toSorted()).toEqual([...server.items].toSorted());
        expect(server.calls).toBeLessThan(10 + 4 * changes.length);
        end.abort();
        await seen.ended;
        expect(clock.timers).toBe(0);
      }),
      { numRuns: runs(2_000) },
    );
  }, 60_000);
});
