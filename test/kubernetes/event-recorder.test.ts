import { beforeEach, describe, expect, it } from '@jest/globals';
import { EventRecorder } from '../../src/kubernetes/event-recorder.ts';
import type { ApiResponse, RestClient } from '../../src/kubernetes/rest-client.ts';

const ABOUT = { metadata: { namespace: 'shop', name: 'loyalty', uid: 'u' } };
const EVENT = { type: 'Normal', reason: 'TokenIssued', message: 'A token' } as const;

describe('the recorder of events', () => {
  let signal: AbortController;
  /** Requests that wait for their answer. */
  let waiting: (() => void)[];
  let written: number;
  let warnings: string[];
  let recorder: EventRecorder;

  const restClient: RestClient = {
    request: ({ signal }) =>
      new Promise<ApiResponse>((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        waiting.push(() => {
          written += 1;
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
    [waiting, written, warnings] = [[], 0, []];
    const silent = (): void => undefined;
    const warn = (message: string, fields: object = {}): void => {
      warnings.push(`${message} ${JSON.stringify(fields)}`);
    };
    recorder = new EventRecorder({
      restClient,
      instance: 'pod-1',
      log: { debug: silent, info: silent, warn, error: silent },
      signal: signal.signal,
      now: () => 0,
    });
  });

  const record = (times: number): void => {
    for (let n = 0; n < times; n += 1) recorder.record(ABOUT, EVENT);
  };
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  it('is flushed when all events are written', async () => {
    record(3);
    let isFlushed = false;
    const flushed = recorder.flush().then(() => {
      isFlushed = true;
      return undefined;
    });
    for (let n = 0; n < 3; n += 1) {
      expect(isFlushed).toBe(false);
      waiting.shift()?.();
      await settle();
    }
    await flushed;
    expect([written, warnings]).toEqual([3, []]);
    await recorder.flush();
  });

  it('says once how many were lost when it has to end, and takes no more', async () => {
    record(1_000);
    await settle();
    signal.abort();
    record(1_000);
    await recorder.flush();
    expect(warnings).toEqual([
      expect.stringContaining('An event could not be recorded'),
      'Events were not recorded before the operator had to end {"count":999}',
    ]);
  });

  it('writes again after it was flushed', async () => {
    record(1);
    waiting.shift()?.();
    await recorder.flush();
    record(1);
    await settle();
    waiting.shift()?.();
    await recorder.flush();
    expect(written).toBe(2);
  });
});
