import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Failure } from '../../src/domain/failure.ts';
import { hours, type Ms, minutes, seconds } from '../../src/domain/time.ts';
import {
  type ListWatch,
  type Page,
  type WatchEvent,
  WatchProblem,
  type WatchSink,
} from '../../src/ports.ts';
import { runInformer } from '../../src/runtime/informer.ts';
import { FakeClock, settle } from './fake-clock.ts';

type Event = WatchEvent<string>;
/** What a watch does: after so long an event, a problem, or nothing more (`end`); otherwise it lasts until it is cut. */
type Act = readonly [after: Ms, what: Event | Error | 'end'];

const FORBIDDEN = new Failure('ClusterUnavailable', 'may not list');
const forbidden = () => new WatchProblem(FORBIDDEN);
const gone = () => new WatchProblem('gone');
const page = (...items: string[]): Page<string> => ({ items, resourceVersion: '10' });
const present = (item: string, resourceVersion: string): Event => ({
  type: 'present',
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
    const answer = this.#lists.shift() ?? page();
    if (answer === 'hang') return new Promise(() => undefined);
    if (answer instanceof Error) throw answer;
    return answer;
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
    this.times.push(clock.passed);
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
class Mirror implements WatchSink<string> {
  readonly items = new Set<string>();
  /** The versions of all lists; `!` after those of a server whose history has begun again. */
  readonly lists: string[] = [];
  #listed: Set<string> | undefined;

  listStarted(version: string, isRestored: boolean): void {
    this.lists.push(isRestored ? `${version}!` : version);
    this.#listed = new Set();
  }

  present(item: string): void {
    if (item === 'poison') throw new TypeError('cannot digest poison');
    this.items.add(item);
    this.#listed?.add(item);
  }

  deleted(item: string): void {
    this.items.delete(item);
  }

  listEnded(): void {
    for (const item of this.items) if (this.#listed?.has(item) === false) this.items.delete(item);
    this.#listed = undefined;
  }
}

function start(source: ListWatch<string>, random = () => 0.5) {
  const sink = new Mirror();
  const problems: (string | undefined)[] = [];
  const seen = { sink, problems, synced: 0, ended: Promise.resolve() };
  seen.ended = runInformer(
    {
      source,
      sink,
      clock,
      random,
      onSynced: () => {
        seen.synced += 1;
      },
      onProblem: (failure) => problems.push(failure?.message),
    },
    end.signal,
  );
  return seen;
}

async function finish({ ended }: { ended: Promise<void> }, source: ScriptedSource): Promise<void> {
  end.abort();
  await ended;
  await settle();
  expect([clock.timers, source.openWatches]).toEqual([0, 0]);
}

describe('an informer', () => {
  it('lists in pages, is synced once, and watches from the version of the list', async () => {
    const lists = [
      { ...page('a', 'b'), continue: 'p2' },
      { ...page('c'), resourceVersion: '11' },
    ];
    const source = new ScriptedSource(lists, [
      [
        [10, present('d', '20')],
        [10, { type: 'deleted', item: 'a', resourceVersion: '21' }],
      ],
    ]);
    const seen = start(source);
    await settle();
    expect([seen.synced, [...seen.sink.items]]).toEqual([1, ['a', 'b', 'c']]);
    await clock.advance(20);
    expect([...seen.sink.items]).toEqual(['b', 'c', 'd']);
    expect(source.calls).toEqual(['list', 'list p2', 'watch 10']);
    await finish(seen, source);
  });

  it('goes on at once after a clean end, where bookmarks have brought it, without a new list', async () => {
    const source = new ScriptedSource(
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
    const seen = start(source);
    await clock.advance(minutes(9) + 20);
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 15', 'watch 15']);
    expect(source.times).toEqual([0, 0, minutes(5), minutes(9) + 10]);
    expect([seen.problems, seen.synced]).toEqual([[], 1]);
    await finish(seen, source);
  });

  it.each([
    [0, minutes(5)],
    [0.5, minutes(7.5)],
  ])('asks watches to last five to ten minutes (random %d)', async (random, timeout) => {
    const source = new ScriptedSource();
    const seen = start(source, () => random);
    await settle();
    expect(source.timeouts).toEqual([timeout]);
    await finish(seen, source);
  });

  it('lists again when its version is too old, and drops what is gone', async () => {
    const source = new ScriptedSource(
      [page('a', 'b'), { items: ['b'], resourceVersion: '30' }],
      [[[minutes(1), gone()]]],
    );
    const seen = start(source);
    await clock.advance(minutes(2));
    expect(source.calls).toEqual(['list', 'watch 10', 'list', 'watch 30']);
    expect([[...seen.sink.items], seen.synced, seen.problems]).toEqual([['b'], 1, []]);
    await finish(seen, source);
  });

  it('lists again after five minutes without even a bookmark: its version may lie in the future', async () => {
    const lists = [page('a', 'b'), { items: ['b'], resourceVersion: '4' }];
    const source = new ScriptedSource(lists, [
      [[minutes(5), 'end']],
      [
        [minutes(1), { type: 'bookmark', resourceVersion: '5' }],
        [minutes(5), 'end'],
      ],
    ]);
    const seen = start(source);
    await clock.advance(minutes(5) + 1);
    expect(source.calls).toEqual(['list', 'watch 10', 'list', 'watch 4']);
    expect([[...seen.sink.items], seen.problems]).toEqual([['b'], []]);
    await clock.advance(minutes(6));
    expect(source.calls.slice(4)).toEqual(['list', 'watch 10']);
    await finish(seen, source);
  });

  it.each<[string, Act]>([
    ['fails', [minutes(1), new WatchProblem(new Failure('ClusterUnavailable', 'cut'))]],
    ['ends before its time', [minutes(1), 'end']],
  ])('asks where the server is when a watch %s, and lists when that is behind', async (_, act) => {
    const bookmark: Act = [1, { type: 'bookmark', resourceVersion: '20' }];
    const source = new ScriptedSource([], [[bookmark, act], [act]]);
    const seen = start(source, () => 0);
    source.version = '20';
    await clock.advance(minutes(1) + seconds(1));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 20']);
    source.version = '19';
    await clock.advance(minutes(1) + seconds(1));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 20', 'list', 'watch 10']);
    expect(seen.sink.lists).toEqual(['10', '10!']);
    expect(source.asked).toBe(2);
    await finish(seen, source);
  });

  it('asks for nothing but the watch when that has ended in time', async () => {
    const lasting: Act[] = [
      [minutes(4), { type: 'bookmark', resourceVersion: '20' }],
      [minutes(3.5), 'end'],
    ];
    const source = new ScriptedSource([], [lasting, lasting]);
    const seen = start(source);
    await clock.advance(minutes(16));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 20', 'watch 20']);
    expect(source.asked).toBe(0);
    await finish(seen, source);
  });

  it('takes no clock that is set for silence, or for a watch that was too short', async () => {
    const source = new ScriptedSource(
      [],
      [
        [
          [minutes(1), { type: 'bookmark', resourceVersion: '15' }],
          [minutes(2), 'end'],
        ],
      ],
    );
    const seen = start(source);
    await clock.advance(minutes(2));
    clock.jump(hours(2));
    await clock.advance(minutes(2));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 15']);
    clock.jump(-hours(3));
    await clock.advance(minutes(6));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 15']);
    expect(seen.problems).toEqual([]);
    await finish(seen, source);
  });

  it('lists again when watches fail for five minutes and tell nothing', async () => {
    const cut = new WatchProblem(new Failure('ClusterUnavailable', 'cut by a proxy'));
    const source = new ScriptedSource(
      [],
      Array.from({ length: 9 }, () => [[minutes(1), cut]]),
    );
    const seen = start(source, () => 0);
    await clock.advance(minutes(6));
    expect(source.calls.slice(0, 6)).toEqual([
      'list',
      ...Array.from({ length: 5 }, () => 'watch 10'),
    ]);
    expect(source.calls.filter((call) => call === 'list')).toHaveLength(2);
    await finish(seen, source);
  });

  it('tells the sink when a list is older than what was seen: etcd was restored from a backup', async () => {
    const lists = [page(), page('a'), { ...page('b'), resourceVersion: '9' }, page('c')];
    const source = new ScriptedSource(lists, [
      [[1, gone()]],
      [
        [1, present('a', '20')],
        [1, gone()],
      ],
      [[1, gone()]],
    ]);
    const seen = start(source, () => 0);
    await clock.advance(seconds(20));
    expect(seen.sink.lists).toEqual(['10', '10', '9!', '10']);
    await finish(seen, source);
  });

  it('starts its list over when a page has expired', async () => {
    const source = new ScriptedSource([{ ...page('a'), continue: 'p2' }, gone(), page('b')]);
    const seen = start(source);
    await clock.advance(seconds(1));
    expect(source.calls).toEqual(['list', 'list p2', 'list', 'watch 10']);
    expect([...seen.sink.items]).toEqual(['b']);
    await finish(seen, source);
  });

  it('does not list again and again without pauses when every version is too old at once', async () => {
    const source = new ScriptedSource(
      [],
      Array.from({ length: 50 }, () => [[0, gone()]]),
    );
    const seen = start(source, () => 1);
    await clock.advance(minutes(2));
    const lists = source.times.filter((_, index) => source.calls[index] === 'list');
    expect(lists.map((at) => at / 1_000)).toEqual([0, 1, 3, 7, 15, 31, 61, 91]);
    await finish(seen, source);
  });

  it('backs off between failures, doubling up to half a minute, and says each problem once', async () => {
    const lists = [...Array.from({ length: 7 }, forbidden), new TypeError('a bug'), page('a')];
    const source = new ScriptedSource(lists);
    const seen = start(source, () => 1);
    await clock.advance(minutes(3));
    expect(source.times.slice(0, 9).map((at) => at / 1_000)).toEqual([
      0, 1, 3, 7, 15, 31, 61, 91, 121,
    ]);
    expect(seen.problems).toEqual([
      'may not list',
      'The watch failed in a way that nobody expected',
    ]);
    await clock.advance(minutes(10));
    expect(seen.problems.at(-1)).toBeUndefined();
    await finish(seen, source);
  });

  it('begins with a short pause again after a success', async () => {
    const source = new ScriptedSource(
      [forbidden(), forbidden(), page()],
      [
        [
          [1, present('a', '20')],
          [1, forbidden()],
        ],
        [[1, forbidden()]],
      ],
    );
    const seen = start(source, () => 1);
    await clock.advance(seconds(20));
    const watches = source.times.filter((_, index) => source.calls[index]?.startsWith('watch'));
    expect(watches).toEqual([3_000, 4_002, 6_003]);
    expect(seen.problems).toEqual(['may not list', undefined, 'may not list']);
    await finish(seen, source);
  });

  it('does not spin when watches end at once, again and again, however cleanly', async () => {
    const source = new ScriptedSource(
      [],
      Array.from({ length: 99 }, () => [[1, 'end']]),
    );
    const seen = start(source, () => 0);
    await clock.advance(minutes(5));
    expect(source.calls.length).toBeLessThan(30);
    expect(seen.problems).toEqual(['The API server ended the watch as soon as it had begun']);
    await finish(seen, source);
  });

  it('cuts a watch that its server does not end, and opens another', async () => {
    const silent: Act[] = [[minutes(1), present('a', '12')]];
    const source = new ScriptedSource([], [silent]);
    const seen = start(source, () => 0);
    await clock.advance(minutes(5) + seconds(29));
    expect(source.calls).toEqual(['list', 'watch 10']);
    await clock.advance(seconds(3));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 12']);
    expect(seen.problems).toEqual([
      'The API server did not end the watch when it was to; it has been cut',
    ]);
    expect(source.openWatches).toBe(1);
    await finish(seen, source);
  });

  it('gives up on a list that is never answered, and asks again', async () => {
    const source = new ScriptedSource(['hang', page('a')]);
    const seen = start(source);
    await clock.advance(minutes(1) + seconds(1));
    expect([seen.synced, seen.problems]).toEqual([
      1,
      ['The API server did not answer a list in time'],
    ]);
    await finish(seen, source);
  });

  it('survives a sink that throws, closes that watch, and sees the event again', async () => {
    const source = new ScriptedSource(
      [],
      [[[5, present('poison', '11')]], [[5, present('a', '11')]]],
    );
    const seen = start(source);
    await clock.advance(seconds(2));
    expect(source.calls).toEqual(['list', 'watch 10', 'watch 10']);
    expect([[...seen.sink.items], source.openWatches]).toEqual([['a'], 1]);
    await finish(seen, source);
  });

  it.each<[string, ScriptedSource, Ms]>([
    ['a list', new ScriptedSource(['hang']), 5],
    ['a watch', new ScriptedSource(), seconds(5)],
    ['a pause', new ScriptedSource([forbidden()]), 5],
  ])('stops at once in the middle of %s', async (_, source, after) => {
    const seen = start(source);
    await clock.advance(after);
    await finish(seen, source);
    expect(source.calls.length).toBeLessThanOrEqual(2);
  });

  it('does not begin when the signal has fired', async () => {
    const source = new ScriptedSource();
    end.abort();
    await start(source).ended;
    expect(source.calls).toEqual([]);
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
      this.#history.push({ type: exists ? 'present' : 'deleted', item, resourceVersion });
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
        expect([...seen.sink.items].toSorted()).toEqual([...server.items].toSorted());
        expect(server.calls).toBeLessThan(10 + 4 * changes.length);
        end.abort();
        await seen.ended;
        expect(clock.timers).toBe(0);
      }),
      { numRuns: 2000 },
    );
  }, 60_000);
});
