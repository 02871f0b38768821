import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  type LeaderElectionOptions,
  type Leadership,
  runLeaderElection,
} from '../../src/controller/leader-election.ts';
import type { LeaseRecord, LeaseStore } from '../../src/controller/lease.ts';
import { Failure } from '../../src/lib/failure.ts';
import type { Log } from '../../src/lib/log.ts';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

const TIMES = {
  leaseDuration: seconds(15),
  renewDeadline: seconds(10),
  retryPeriod: seconds(2),
} as const;
const DOWN = new Failure('ClusterUnavailable', 'the API server is down');
const LOST = 'The Lease is lost; this replica leads no more';

let clock: FakeClock;
let lines: string[];

const log: Log = {
  debug: () => undefined,
  info: (message, fields) => lines.push(`${message} ${fields?.['holder'] ?? ''}`.trim()),
  warn: (message) => lines.push(message),
  error: () => undefined,
};

beforeEach(() => {
  clock = new FakeClock();
  lines = [];
});

/** How one request goes: the time there and back, and what breaks on the way. */
interface Fate {
  readonly there: Ms;
  readonly back: Ms;
  readonly breaks?: 'before' | 'after' | 'bug' | undefined;
}

const GOOD: Fate = { there: 0, back: 0 };

/** The Lease in the cluster. What was sent arrives even when the sender no longer waits for it. */
class ClusterClient {
  lease: LeaseRecord | undefined;
  #version = 0;

  put(record: Omit<LeaseRecord, 'resourceVersion'>): LeaseRecord {
    this.#version += 1;
    this.lease = { ...record, resourceVersion: String(this.#version) };
    return this.lease;
  }

  store(fate: () => Fate = () => GOOD): LeaseStore {
    return {
      read: () => this.#carry(fate(), () => this.lease ?? 'absent'),
      write: (record) =>
        this.#carry(fate(), () => {
          if (record.resourceVersion !== this.lease?.resourceVersion) return 'conflict';
          return this.put(record);
        }),
    };
  }

  async #carry<T>({ there, back, breaks }: Fate, serve: () => T): Promise<T | Failure> {
    await pause(there);
    if (breaks === 'bug') throw new TypeError('a bug');
    if (breaks === 'before') return DOWN;
    const response = serve();
    await pause(back);
    return breaks === 'after' ? DOWN : response;
  }
}

const pause = (time: Ms): Promise<void> =>
  time === 0 ? Promise.resolve() : new Promise((resolve) => clock.after(time, resolve));

/** Leads until it is stopped or loses the Lease. */
class Contender {
  isLeading = false;
  terms = 0;
  result: 'stopped' | 'lost' | undefined;
  /** How long the work takes to end after a stop. */
  drain: Ms = 0;
  onLead: () => void = () => undefined;
  ended: Promise<void>;
  readonly #stop = new AbortController();

  constructor(identity: string, store: LeaseStore, more: Partial<LeaderElectionOptions> = {}) {
    const options: LeaderElectionOptions = {
      store,
      identity,
      ...TIMES,
      clock,
      random: () => 0,
      log,
      lead: ({ lost }) => this.#lead(lost),
      ...more,
    };
    this.ended = this.#run(options);
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(options: LeaderElectionOptions): Promise<void> {
    this.result = await runLeaderElection(options, this.#stop.signal);
  }

  async #lead(lost: AbortSignal): Promise<void> {
    this.isLeading = true;
    this.terms += 1;
    this.onLead();
    // Fires in the same moment as `lost`, as work that listens to it would stop.
    lost.addEventListener('abort', () => {
      this.isLeading = false;
    });
    const over = AbortSignal.any([lost, this.#stop.signal]);
    await new Promise<void>((resolve) => {
      if (over.aborted) resolve();
      over.addEventListener('abort', () => resolve());
    });
    if (!lost.aborted) await pause(this.drain);
    this.isLeading = false;
  }
}

describe('one contender', () => {
  it('creates the Lease, leads, renews every retry period, and releases on a stop', async () => {
    const cluster = new ClusterClient();
    const start = clock.now();
    const one = new Contender('one', cluster.store());
    await clock.advance(seconds(7));
    expect(one.isLeading).toBe(true);
    expect(cluster.lease).toEqual({
      holder: 'one',
      duration: seconds(15),
      acquiredAt: start,
      renewedAt: start + seconds(6),
      transitions: 0,
      resourceVersion: '4',
    });
    one.stop();
    await one.ended;
    expect(one.result).toBe('stopped');
    expect(cluster.lease).toMatchObject({ holder: '', duration: seconds(1), transitions: 0 });
    expect([clock.timers, lines]).toEqual([0, ['The Lease has a new holder one']]);
  });

  it('keeps renewing while its work drains, and releases only after that', async () => {
    const cluster = new ClusterClient();
    const one = new Contender('one', cluster.store());
    one.drain = minutes(1);
    await clock.advance(seconds(1));
    one.stop();
    await clock.advance(seconds(59));
    expect([one.isLeading, cluster.lease?.holder]).toEqual([true, 'one']);
    expect(clock.now() - (cluster.lease?.renewedAt ?? 0)).toBeLessThanOrEqual(seconds(2));
    await clock.advance(seconds(2));
    expect([one.result, cluster.lease?.holder]).toEqual(['stopped', '']);
  });

  it('waits for a renewal on its way before it releases', async () => {
    const cluster = new ClusterClient();
    const fates: Fate[] = [GOOD, GOOD, { there: 500, back: 500 }];
    const one = new Contender(
      'one',
      cluster.store(() => fates.shift() ?? GOOD),
    );
    await clock.advance(seconds(2.2));
    one.stop();
    await clock.advance(seconds(1));
    expect([one.result, cluster.lease?.holder, cluster.lease?.resourceVersion]).toEqual([
      'stopped',
      '',
      '3',
    ]);
  });

  it.each([
    ['a renewal', [GOOD, GOOD, { there: minutes(5), back: 0 }], 2.2],
    ['the release', [GOOD, GOOD, { there: minutes(5), back: 0 }], 1],
  ])('waits 3 s and no longer for %s that hangs at the end', async (_, fates, stopAt) => {
    const one = new Contender(
      'one',
      new ClusterClient().store(() => fates.shift() ?? GOOD),
    );
    await clock.advance(seconds(stopAt));
    one.stop();
    await clock.advance(seconds(3) - 1);
    expect(one.result).toBe(undefined);
    await clock.advance(1);
    expect(one.result).toBe('stopped');
    expect(clock.timers).toBe(1); // that of the request itself, in this test
  });

  it('gives up exactly at the deadline when it cannot renew, then ends as lost and releases nothing', async () => {
    const cluster = new ClusterClient();
    let fate = GOOD;
    const one = new Contender(
      'one',
      cluster.store(() => fate),
    );
    await clock.advance(seconds(4));
    fate = { ...GOOD, breaks: 'before' };
    await clock.advance(seconds(10) - 1);
    expect(one.isLeading).toBe(true);
    await clock.advance(1);
    expect([one.isLeading, one.result, cluster.lease?.holder]).toEqual([false, 'lost', 'one']);
    expect([clock.timers, lines.slice(1)]).toEqual([0, [DOWN.message, LOST]]);
  });

  it('does not wait for a store that never answers', async () => {
    const cluster = new ClusterClient();
    let fate = GOOD;
    const one = new Contender(
      'one',
      cluster.store(() => fate),
    );
    await clock.advance(seconds(1));
    fate = { there: hours(1), back: 0 };
    await clock.advance(seconds(9));
    expect(one.result).toBe('lost');
  });

  it('survives a store that throws, and says when it works again', async () => {
    const fates: Fate[] = [{ ...GOOD, breaks: 'bug' }];
    const one = new Contender(
      'one',
      new ClusterClient().store(() => fates.shift() ?? GOOD),
    );
    await clock.advance(seconds(2));
    expect(one.isLeading).toBe(true);
    expect(lines).toEqual([
      'The request for the Lease failed for a reason that was not foreseen',
      'The Lease can be reached again',
      'The Lease has a new holder one',
    ]);
    one.stop();
    await one.ended;
  });

  it('goes on when a renewal arrived but its answer did not', async () => {
    const cluster = new ClusterClient();
    const fates: Fate[] = [GOOD, GOOD, { ...GOOD, breaks: 'after' }];
    const one = new Contender(
      'one',
      cluster.store(() => fates.shift() ?? GOOD),
    );
    await clock.advance(minutes(1));
    expect([one.isLeading, one.terms, cluster.lease?.transitions]).toEqual([true, 1, 0]);
    one.stop();
    await one.ended;
    expect(cluster.lease?.holder).toBe('');
  });

  it.each<[string, (cluster: ClusterClient) => void]>([
    ['another replica has it', (it) => it.lease && it.put({ ...it.lease, holder: 'other' })],
    [
      'it has been deleted',
      (it) => {
        it.lease = undefined;
      },
    ],
  ])('stops leading as soon as it sees that %s', async (_, happens) => {
    const cluster = new ClusterClient();
    const one = new Contender('one', cluster.store());
    await clock.advance(seconds(1));
    happens(cluster);
    await clock.advance(seconds(1));
    expect([one.isLeading, one.result]).toEqual([false, 'lost']);
    expect(lines.slice(1)).toContain(LOST);
  });

  it('tries later when it cannot look after a conflict, or meets two in a row', async () => {
    const cluster = new ClusterClient();
    const fates: Fate[] = [GOOD, GOOD, GOOD, { ...GOOD, breaks: 'before' }];
    const one = new Contender(
      'one',
      cluster.store(() => fates.shift() ?? GOOD),
    );
    await clock.advance(seconds(1));
    if (cluster.lease) cluster.put(cluster.lease);
    await clock.advance(seconds(4));
    expect([one.isLeading, fates]).toEqual([true, []]);
    const touch = () => cluster.lease && cluster.put(cluster.lease);
    touch();
    for (const at of [100, 150]) clock.after(seconds(1) + at, touch);
    fates.push({ there: 100, back: 30 }, { there: 0, back: 30 }, { there: 60, back: 0 });
    await clock.advance(seconds(9));
    expect([one.isLeading, fates]).toEqual([true, []]);
    one.stop();
    await one.ended;
  });

  it('takes its own Lease back at once', async () => {
    const cluster = new ClusterClient();
    cluster.put({ holder: 'one', duration: 15_000, acquiredAt: 5, renewedAt: 6, transitions: 3 });
    const one = new Contender('one', cluster.store());
    await settle();
    expect(one.isLeading).toBe(true);
    expect(cluster.lease).toMatchObject({ acquiredAt: 5, transitions: 3 });
    one.stop();
    await one.ended;
  });

  it('passes on what its work throws, after releasing', async () => {
    const cluster = new ClusterClient();
    const lead = () => Promise.reject(new Error('a bug'));
    const one = new Contender('one', cluster.store(), { lead });
    await expect(one.ended).rejects.toThrow('a bug');
    expect(cluster.lease?.holder).toBe('');
  });

  it.each([
    { renewDeadline: seconds(15) },
    { retryPeriod: seconds(9) },
    { leaseDuration: Number.NaN },
  ])('refuses times that cannot work: %j', async (times) => {
    await expect(new Contender('one', new ClusterClient().store(), times).ended).rejects.toThrow(
      RangeError,
    );
  });
});

describe('a contender while another one leads', () => {
  it('takes over after the whole duration without a sign of life, as seen by itself', async () => {
    const cluster = new ClusterClient();
    cluster.put({
      holder: 'dead',
      duration: seconds(15),
      acquiredAt: 0,
      renewedAt: clock.now() + hours(9),
      transitions: 4,
    });
    const two = new Contender('two', cluster.store());
    await clock.advance(seconds(15) - 1);
    expect(two.isLeading).toBe(false);
    await clock.advance(seconds(2));
    expect(two.isLeading).toBe(true);
    expect(cluster.lease).toMatchObject({ holder: 'two', transitions: 5 });
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(['dead', 'two']);
    two.stop();
    await two.ended;
  });

  it('waits for the whole duration when the holder alone was taken out of the Lease', async () => {
    const cluster = new ClusterClient();
    const record = { duration: seconds(15), acquiredAt: 0, renewedAt: 0, transitions: 0 };
    cluster.put({ ...record, holder: '' });
    const two = new Contender('two', cluster.store());
    await clock.advance(seconds(15) - 1);
    expect(two.isLeading).toBe(false);
    await clock.advance(seconds(2));
    expect(two.isLeading).toBe(true);
    two.stop();
    await two.ended;
  });

  it('respects the longer duration that the holder has promised to others', async () => {
    const cluster = new ClusterClient();
    const hour = {
      holder: 'slow',
      duration: hours(1),
      acquiredAt: 0,
      renewedAt: 0,
      transitions: 0,
    };
    cluster.put(hour);
    const two = new Contender('two', cluster.store());
    await clock.advance(hours(1) - 1);
    expect(two.isLeading).toBe(false);
    await clock.advance(seconds(3));
    expect(two.isLeading).toBe(true);
    two.stop();
    await two.ended;
  });

  it.each([
    ['1', 0],
    ['2.2', 1 - Number.EPSILON],
  ])('follows a clean release within %s retry periods', async (periods, drawn) => {
    const cluster = new ClusterClient();
    const one = new Contender('one', cluster.store());
    await settle();
    const two = new Contender('two', cluster.store(), { random: () => drawn });
    await settle();
    one.stop();
    await settle();
    const wait = Number(periods) * TIMES.retryPeriod;
    await clock.advance(wait - 1);
    expect([one.result, two.isLeading]).toEqual(['stopped', false]);
    await clock.advance(1);
    expect([two.isLeading, cluster.lease?.transitions]).toEqual([true, 1]);
    two.stop();
    await two.ended;
    expect(clock.timers).toBe(0);
  });

  it('does not ask in a loop when the Lease is free but can not be written', async () => {
    const cluster = new ClusterClient();
    cluster.put({ holder: '', duration: 1, acquiredAt: 0, renewedAt: 0, transitions: 0 });
    let reads = 0;
    const store = cluster.store();
    const two = new Contender('two', {
      ...store,
      read: (signal) => {
        reads += 1;
        return store.read(signal);
      },
      write: async () => DOWN,
    });
    await clock.advance(minutes(1));
    expect(reads).toBeLessThanOrEqual(31);
    two.stop();
    await two.ended;
  });

  it('ends at once when it is stopped before it ever leads', async () => {
    const cluster = new ClusterClient();
    const one = new Contender('one', cluster.store());
    const two = new Contender('two', cluster.store());
    await clock.advance(seconds(5));
    two.stop();
    await two.ended;
    expect([two.result, two.terms, cluster.lease?.holder]).toEqual(['stopped', 0, 'one']);
    one.stop();
    await one.ended;
    expect(clock.timers).toBe(0);
  });
});

describe('two contenders over a bad network', () => {
  const aBadFate: fc.Arbitrary<Fate> = fc.record({
    there: fc.constantFrom(0, 10, 1_000, 4_000, 12_000, 30_000),
    back: fc.constantFrom(0, 10, 1_000, 4_000, 12_000),
    breaks: fc.constantFrom(undefined, undefined, 'before', 'after'),
  });
  const aFate = fc.oneof({ arbitrary: fc.constant(GOOD), weight: 3 }, aBadFate);
  const aHappening = fc.record({
    after: fc.integer({ min: 1, max: 25_000 }),
    who: fc.constantFrom(0, 1),
    what: fc.constantFrom('stop', 'jump', 'edit', 'nothing'),
    by: fc.integer({ min: -hours(3), max: hours(3) }),
    edit: fc.record(
      {
        holder: fc.string(),
        duration: fc.nat(hours(1)),
        acquiredAt: fc.maxSafeInteger(),
        renewedAt: fc.maxSafeInteger(),
        transitions: fc.maxSafeNat(),
      },
      { requiredKeys: [] },
    ),
  });
  /** A person edits the Lease. Who deletes or releases it, or puts in another replica, wants another leader. */
  function edit(cluster: ClusterClient, change: Partial<LeaseRecord>): void {
    const { lease } = cluster;
    if (lease === undefined) return;
    const isReleased = (change.holder ?? lease.holder) === '';
    cluster.put({ ...lease, ...change, ...(isReleased && { duration: seconds(15) }) });
  }

  it('never lead at the same time, whatever is delayed or lost and wherever the clock jumps, and whatever is edited', async () => {
    let terms = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(aFate, { minLength: 5, maxLength: 40 }),
        fc.array(aHappening, { minLength: 5, maxLength: 25 }),
        fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 10 }),
        async (fates, happenings, randoms) => {
          clock = new FakeClock();
          const cluster = new ClusterClient();
          let requests = 0;
          let draws = 0;
          const store = cluster.store(() => fates[(requests += 1) % fates.length]!);
          const random = () => randoms[(draws += 1) % randoms.length]!;
          let isOpen = true;
          const now: Contender[] = [];
          const enter = (place: 0 | 1): void => {
            const contender = new Contender(`contender ${place}`, store, { random });
            contender.drain = 3_000;
            now[place] = contender;
            contender.onLead = () => {
              terms += 1;
              expect(now.filter((it) => it.isLeading)).toEqual([contender]);
            };
            void contender.ended.then(() => isOpen && enter(place));
          };
          enter(0);
          enter(1);
          for (const { after, who, what, by, edit: change } of happenings) {
            await clock.advance(after);
            if (what === 'edit') edit(cluster, change);
            if (what === 'stop') now[who]?.stop();
            if (what === 'jump') clock.jump(by);
          }
          isOpen = false;
          for (const contender of now) contender.stop();
          await clock.advance(hours(2));
          await Promise.all(now.map(({ ended }) => ended));
          expect(now.map(({ isLeading }) => isLeading)).toEqual([false, false]);
        },
      ),
      { numRuns: runs(1_000) },
    );
    expect(terms).toBeGreaterThan(runs(1_000));
  }, 600_000);
});

it('does not let a process act that was stopped for longer than its term, whatever its timers say', async () => {
  let leadership: Leadership | undefined;
  const contender = new Contender('a', new ClusterClient().store(), {
    lead: async (given) => {
      leadership = given;
      await new Promise<void>((resolve) => given.lost.addEventListener('abort', () => resolve()));
    },
  });
  await clock.advance(0);
  expect(leadership?.assertHeld()).toBeUndefined();
  // SIGSTOP and SIGCONT: time has passed, and what was received meanwhile is handled before any timer
  clock.freeze(TIMES.renewDeadline);
  expect(() => leadership?.assertHeld()).toThrow('The Lease is lost');
  expect(leadership?.lost.aborted).toBe(true);
  contender.stop();
  await contender.ended;
});
