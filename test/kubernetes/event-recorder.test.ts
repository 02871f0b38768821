import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { CredentialEvent } from '../../src/credential/events.ts';
import { EventRecorder } from '../../src/kubernetes/event-recorder.ts';
import type { ApiResponse, RestClient } from '../../src/kubernetes/rest-client.ts';
import { minutes, rfc3339, seconds } from '../../src/lib/time.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

interface Written {
  readonly reason: string;
  readonly note: string;
  readonly eventTime: string;
  readonly regarding: { readonly name: string };
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

const about = (name: string) => ({ metadata: { namespace: 'shop', name, uid: `uid-of-${name}` } });
const event = (reason: string, message = 'A token'): CredentialEvent => ({
  type: 'Normal',
  reason,
  message,
});

/** As often as each series says. */
const countOf = (events: readonly Written[]): number =>
  events.reduce((count, { series }) => count + (series?.count ?? 1), 0);

describe('the recorder of events', () => {
  let signal: AbortController;
  let clock: FakeClock;
  let isBusy: boolean;
  /** Requests that wait for their response. */
  let waiting: (() => void)[];
  let written: Written[];
  let warnings: string[];
  let recorder: EventRecorder;

  const restClient: RestClient = {
    request: ({ signal, body }) =>
      new Promise<ApiResponse>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        waiting.push(() => {
          written.push(JSON.parse(JSON.stringify(body)));
          resolve({ status: 201, body: {} });
        });
      }),
    stream: () => {
      throw new Error('there is no stream of events');
    },
    close: () => Promise.resolve(),
  };

  beforeEach(() => {
    signal = new AbortController();
    clock = new FakeClock();
    isBusy = false;
    [waiting, written, warnings] = [[], [], []];
    const silent = (): void => undefined;
    const warn = (message: string, fields: object = {}): void => {
      warnings.push(`${message} ${JSON.stringify(fields)}`);
    };
    recorder = new EventRecorder({
      restClient,
      instance: 'pod-1',
      log: { debug: silent, info: silent, warn, error: silent },
      signal: signal.signal,
      clock,
      isBusy: () => isBusy,
    });
  });

  const record = (name: string, reason = 'TokenIssued'): void =>
    recorder.record(about(name), event(reason));
  const recordMany = (count: number): void => {
    for (let n = 0; n < count; n += 1) record(`c${n}`);
  };
  const respond = async (): Promise<void> => {
    waiting.shift()?.();
    await settle();
  };
  const respondToAll = async (): Promise<void> => {
    while (waiting.length > 0) await respond();
  };

  it('is flushed when all events are written, and writes again after that', async () => {
    recordMany(3);
    let isFlushed = false;
    const flushed = recorder.flush().then(() => {
      isFlushed = true;
      return undefined;
    });
    for (let n = 0; n < 3; n += 1) {
      expect(isFlushed).toBe(false);
      await respond();
    }
    await flushed;
    record('later');
    await respond();
    await recorder.flush();
    expect([written.length, warnings, clock.timers]).toEqual([4, [], 0]);
  });

  it('writes one at a time while reconciles run, and eight when none does', async () => {
    isBusy = true;
    recordMany(30);
    expect(waiting).toHaveLength(1);
    await respond();
    expect(waiting).toHaveLength(1);
    isBusy = false;
    await respond();
    expect(waiting).toHaveLength(8);
    await respondToAll();
    expect(written.map(({ regarding }) => regarding.name)).toEqual(
      [...Array(30).keys()].map((n) => `c${n}`),
    );
  });

  it('loses the newest when too many wait, and says how many', async () => {
    recordMany(10_013);
    expect(warnings).toEqual([
      'Too many events at once; some are lost {"namespace":"shop","name":"c10008"}',
    ]);
    while (waiting.length > 0) await respond();
    expect(written).toHaveLength(10_008);
    expect(warnings.slice(1)).toEqual(['Events were lost because there were too many {"count":5}']);
  });

  it('says once how many were lost when it has to end, and takes no more', async () => {
    recordMany(1_000);
    for (let n = 0; n < 40; n += 1) record('often', `Reason${n}`);
    await settle();
    signal.abort();
    recordMany(1_000);
    await recorder.flush();
    const refused = warnings.filter((text) => text.startsWith('An event could not be recorded'));
    expect(refused).toHaveLength(8);
    expect(warnings.filter((text) => !refused.includes(text))).toEqual([
      'Events were not recorded before the operator had to end {"count":1032}',
    ]);
    expect(clock.timers).toBe(0);
  });

  it('writes repetitions as one series while the first waits', async () => {
    isBusy = true;
    record('other');
    for (let n = 0; n < 3; n += 1) {
      recorder.record(about('loyalty'), event('TokenRevoked', `message ${n}`));
      clock.step(seconds(1));
    }
    record('loyalty', 'TokenIssued');
    await respondToAll();
    const start = clock.now() - seconds(3);
    const micro = (at: number) => rfc3339(at).replace('Z', '.000000Z');
    expect(written.slice(1)).toMatchObject([
      {
        reason: 'TokenRevoked',
        note: 'message 2',
        eventTime: micro(start),
        series: { count: 3, lastObservedTime: micro(start + seconds(2)) },
      },
      { reason: 'TokenIssued' },
    ]);
    expect(written[0]).not.toHaveProperty('series');
    expect(written[2]).not.toHaveProperty('series');
  });

  it('writes of one credential 25 at once, then one every 5 minutes, and of others all', async () => {
    const flap = async (): Promise<void> => {
      record('loyalty', 'TargetEdited');
      await respondToAll();
      record('loyalty', 'CredentialChanged');
      await respondToAll();
    };
    for (let n = 0; n < 100; n += 1) await flap();
    expect(written).toHaveLength(25);
    record('other');
    await respondToAll();
    expect(written).toHaveLength(26);
    await clock.advance(minutes(5) - 1);
    await respondToAll();
    expect(written).toHaveLength(26);
    await clock.advance(1);
    await respondToAll();
    await clock.advance(minutes(5));
    await respondToAll();
    expect(written.slice(26).map(({ reason, series }) => [reason, series?.count])).toEqual([
      ['CredentialChanged', 88],
      ['TargetEdited', 87],
    ]);
    await clock.advance(minutes(130));
    expect([written.length, clock.timers]).toEqual([28, 0]);
    for (let n = 0; n < 25; n += 1) await flap();
    expect(written).toHaveLength(28 + 25);
  });

  it('loses none by the limit: in the end the series count them all', async () => {
    const happenings = fc.array(
      fc.record({
        name: fc.constantFrom('a', 'b'),
        reason: fc.constantFrom('One', 'Two', 'Three'),
        after: fc.oneof(fc.constant(0), fc.nat(minutes(10))),
      }),
      { maxLength: 200 },
    );
    await fc.assert(
      fc.asyncProperty(happenings, async (happenings) => {
        [waiting, written] = [[], []];
        const start = clock.monotonic();
        const perCredential = new Map<string, number>();
        for (const { name, reason, after } of happenings) {
          clock.step(after);
          await respondToAll();
          record(name, reason);
        }
        const began = clock.monotonic();
        await respondToAll();
        while (clock.timers > 0) {
          await clock.advance(minutes(1));
          await respondToAll();
        }
        for (const { regarding } of written) {
          perCredential.set(regarding.name, (perCredential.get(regarding.name) ?? 0) + 1);
        }
        expect(countOf(written)).toBe(happenings.length);
        const most = 25 + (clock.monotonic() - start) / minutes(5);
        for (const count of perCredential.values()) expect(count).toBeLessThanOrEqual(most);
        expect(clock.monotonic() - began).toBeLessThanOrEqual(minutes(16));
        clock.step(minutes(125)); // all permits are back for the next run
      }),
      { numRuns: runs(100) },
    );
  });
});
