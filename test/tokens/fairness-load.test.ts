import { beforeEach, describe, expect, it } from '@jest/globals';
import { type EpochMs, hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import type { Ticket } from '../../src/tokens/deadline-queue.ts';
import { HostLimiters } from '../../src/tokens/host-limiters.ts';
import { aTicket } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** The defaults of the configuration. */
const LIMITS = { requestsPerSecond: 5, burst: 10, concurrency: 4, passwordLoginsPerSecond: 1 };
const HOST = 'auth.example';

interface Asked {
  readonly namespace: string;
  readonly at: EpochMs;
  readonly expiresAt?: EpochMs | undefined;
  sentAt?: EpochMs;
}

let clock: FakeClock;
let limiter: HostLimiters;
let asked: Asked[];

beforeEach(() => {
  clock = new FakeClock();
  limiter = new HostLimiters(LIMITS, clock, () => 0.5);
  asked = [];
});

function ask(namespace: string, ticket: Partial<Ticket>): Asked {
  const request: Asked = { namespace, at: clock.now(), expiresAt: ticket.expiresAt };
  asked.push(request);
  const task = async () => {
    request.sentAt = clock.now();
  };
  const whole = aTicket({ ...ticket, namespaces: new Set([namespace]) });
  void limiter.run(HOST, whole, task, new AbortController().signal);
  return request;
}

/** A credential without a token, as a reconcile asks for it. */
const newcomer = (namespace: string): Asked =>
  ask(namespace, { deadline: clock.now() + minutes(1) });

/** A token that expires in so much time. */
const renewal = (namespace: string, left: Ms): Asked =>
  ask(namespace, { deadline: clock.now() + left, expiresAt: clock.now() + left });

/** Tokens of 30 minutes, due for renewal 6 minutes before they expire, one each ten seconds. */
async function renew180Tokens(beside: () => void = () => undefined): Promise<void> {
  for (let second = 0; second < minutes(50) / 1_000; second += 1) {
    if (second < 1_800 && second % 10 === 0) renewal('shop', minutes(6) + second);
    beside();
    await clock.advance(seconds(1));
  }
}

const expired = (namespace: string): Asked[] =>
  asked.filter(
    ({ namespace: of, expiresAt, sentAt = Infinity }) =>
      of === namespace && expiresAt !== undefined && sentAt > expiresAt,
  );

const longestWait = (namespace: string): Ms =>
  Math.max(
    ...asked
      .filter((each) => each.namespace === namespace)
      .map(({ at, sentAt = Infinity }) => sentAt - at),
  );

const sentWithin = (namespace: string, time: Ms): number =>
  asked.filter(
    ({ namespace: of, at, sentAt = Infinity }) => of === namespace && sentAt - at <= time,
  ).length;

describe('the host limiter under the load of one namespace', () => {
  it('lets no token of another expire for 10,000 new credentials, and serves these all at nearly the full rate', async () => {
    for (let n = 0; n < 10_000; n += 1) newcomer('crowd');
    await renew180Tokens();

    expect(expired('shop')).toEqual([]);
    expect(longestWait('shop')).toBeLessThan(seconds(1));
    // 5 a second for 2,000 s, and one turn of twenty goes to a renewal
    expect(longestWait('crowd')).toBeLessThan(minutes(36));
  }, 60_000);

  it('gives new credentials half of the turns while renewals wait', async () => {
    for (let n = 0; n < 2_000; n += 1) newcomer('crowd');
    for (let n = 0; n < 800; n += 1) renewal('shop', minutes(6));
    await clock.advance(minutes(6));

    expect(expired('shop')).toEqual([]);
    expect(sentWithin('crowd', minutes(4))).toBeGreaterThanOrEqual(590);
    expect(sentWithin('shop', minutes(4))).toBeGreaterThanOrEqual(590);
  }, 60_000);

  it('serves a new credential of another namespace at its turn, not behind 10,000', async () => {
    for (let n = 0; n < 10_000; n += 1) newcomer('crowd');
    await clock.advance(minutes(1));
    for (const namespace of ['a', 'b', 'c']) {
      newcomer(namespace);
      newcomer(namespace);
    }
    await clock.advance(minutes(1));

    expect(Math.max(...['a', 'b', 'c'].map(longestWait))).toBeLessThan(seconds(2));
  }, 60_000);

  it('lets no token of another expire for renewals that come faster than the host lets them go', async () => {
    // Tokens of five minutes, due one minute before they expire: 12 a second, of which the host lets 5 go
    await renew180Tokens(() => {
      for (let n = 0; n < 12; n += 1) renewal('crowd', minutes(1) + n * 83);
    });

    expect(expired('crowd').length).toBeGreaterThan(10_000);
    expect(expired('shop')).toEqual([]);
  }, 120_000);

  it('serves the tokens that have expired in an outage beside those that are still valid', async () => {
    for (let n = 0; n < 1_000; n += 1)
      ask('crowd', { deadline: clock.now() - 1, expiresAt: clock.now() - 1 });
    for (let n = 0; n < 100; n += 1) renewal('shop', minutes(2));
    await clock.advance(hours(1));

    expect(expired('shop')).toEqual([]);
    expect(longestWait('crowd')).toBeLessThan(minutes(4));
  }, 60_000);
});
