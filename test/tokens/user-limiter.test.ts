import { beforeEach, describe, expect, it } from '@jest/globals';
import { type Ms, seconds } from '../../src/lib/time.ts';
import type { Ticket } from '../../src/tokens/deadline-queue.ts';
import { UserLimiter } from '../../src/tokens/user-limiter.ts';
import { aTicket } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';

const turnOf = (ticket: Ticket, onLent = () => undefined) => ({ ticket, onLent });

describe('a user limiter', () => {
  let clock: FakeClock;
  let closing: AbortController;
  let users: UserLimiter;
  let started: [string, Ms][];

  beforeEach(() => {
    clock = new FakeClock();
    closing = new AbortController();
    users = new UserLimiter(clock, closing.signal);
    started = [];
  });

  /** A login that takes so long, by a user with the first letter of its name. */
  function logIn(
    name: string,
    { deadline = 0, takes = 0, signal = closing.signal, namespaces = ['shop'], sends = true } = {},
  ): Promise<string> {
    const login = async (onSent: () => void) => {
      if (sends) onSent();
      started.push([name, clock.monotonic()]);
      if (takes > 0) await new Promise<void>((resolve) => clock.after(takes, resolve));
      return name;
    };
    const ticket = aTicket({ deadline, namespaces: new Set(namespaces) });
    return users.run(name.charAt(0), turnOf(ticket), login, signal);
  }

  it('runs logins of one user one after the other, two seconds after the end of the one before', async () => {
    const logins = Promise.all([logIn('a1', { takes: 500 }), logIn('a2'), logIn('b1')]);
    await clock.advance(seconds(9));
    expect(await logins).toEqual(['a1', 'a2', 'b1']);
    expect(started).toEqual([
      ['a1', 0],
      ['b1', 0],
      ['a2', 2_500],
    ]);
    expect(clock.timers).toBe(0);
  });

  it('keeps the distance after a login that fails', async () => {
    const failed = users.run(
      'a',
      turnOf(aTicket()),
      (onSent) => {
        onSent();
        return Promise.reject(new Error('no'));
      },
      closing.signal,
    );
    await expect(failed).rejects.toThrow('no');
    void logIn('a2');
    await clock.advance(seconds(9));
    expect(started).toEqual([['a2', 2_000]]);
  });

  it('runs the smallest deadline first', async () => {
    void logIn('a1');
    void logIn('a late', { deadline: 9 });
    void logIn('a soon', { deadline: 5 });
    await clock.advance(seconds(9));
    expect(started.map(([name]) => name)).toEqual(['a1', 'a soon', 'a late']);
  });

  it('lets namespaces take turns, however many logins one of them has', async () => {
    for (let n = 0; n < 300; n += 1) void logIn(`a${n}`, { namespaces: ['crowd'] });
    void logIn('a shop 1', { namespaces: ['shop'], deadline: 9 });
    void logIn('a shop 2', { namespaces: ['shop'], deadline: 9 });
    await clock.advance(seconds(9));
    expect(started).toEqual([
      ['a0', 0],
      ['a1', 2_000],
      ['a shop 1', 4_000],
      ['a2', 6_000],
      ['a shop 2', 8_000],
    ]);
  });

  it('runs a login of two namespaces in the first turn of either', async () => {
    void logIn('a1');
    for (const name of ['a2', 'a3', 'a4']) void logIn(name, { namespaces: ['crowd'] });
    void logIn('a both', { namespaces: ['crowd', 'shop'], deadline: 9 });
    await clock.advance(seconds(9));
    expect(started.map(([name]) => name)).toEqual(['a1', 'a2', 'a both', 'a3', 'a4']);
  });

  it('moves a login that has become more urgent, or that another namespace waits for too', async () => {
    const tickets = [9, 8, 7].map((deadline) => aTicket({ deadline }));
    void logIn('a1');
    for (const [n, ticket] of tickets.entries()) {
      void users.run('a', turnOf(ticket), async () => started.push([`${n}`, 0]), closing.signal);
    }
    const [first, second] = tickets;
    if (first === undefined || second === undefined) throw new Error();
    first.deadline = 1;
    users.raisePriority('a', first);
    second.namespaces.add('other');
    users.raisePriority('a', second);
    users.raisePriority('b', second);
    await clock.advance(seconds(2));
    users.raisePriority('a', first);
    expect(started.map(([name]) => name)).toEqual(['a1', '0', '1', '2']);
  });

  it('lends the login whose turn it is the turns and deadlines of those that wait for it', async () => {
    const ofCrowd = () => aTicket({ deadline: 9_000, namespaces: new Set(['crowd']) });
    const [first, second, third] = [ofCrowd(), ofCrowd(), ofCrowd()];
    let lent = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const onLent = () => void (lent += 1);
    void users.run('a', { ticket: first, onLent }, () => promise, closing.signal);
    void users.run('a', turnOf(second), async () => undefined, closing.signal);
    const expiresAt = clock.now() + 7;
    const shop = aTicket({ deadline: 5, expiresAt, namespaces: new Set(['shop']) });
    void users.run('a', turnOf(shop), async () => undefined, closing.signal);
    expect(first).toMatchObject({ deadline: 5, expiresAt });
    expect([...first.namespaces]).toEqual(['crowd', 'shop']);
    expect([...shop.namespaces]).toEqual(['shop']);
    expect(lent).toBe(2);
    void users.run('b', turnOf(third), async () => undefined, closing.signal);
    resolve();
    await clock.advance(seconds(1));
    expect([...second.namespaces]).toEqual(['crowd', 'shop']);
    expect([...third.namespaces]).toEqual(['crowd']);
  });

  it('keeps a renewal a renewal that another waits for whose token has expired', () => {
    const expiresAt = clock.now() + 7;
    const [renewal, expired] = [aTicket({ expiresAt }), aTicket({ expiresAt: clock.now() - 1 })];
    const { promise } = Promise.withResolvers<void>();
    void users.run('a', turnOf(renewal), () => promise, closing.signal);
    void users.run('a', turnOf(expired), () => promise, closing.signal);
    expect(renewal.expiresAt).toBe(expiresAt);
  });

  it('keeps no distance to a login that was not sent after all', async () => {
    for (let n = 0; n < 9; n += 1) void logIn(`a${n}`, { sends: n % 4 === 0 });
    await clock.advance(seconds(9));
    expect(started.map(([, at]) => at / 1_000)).toEqual([0, 2, 2, 2, 2, 4, 4, 4, 4]);
  });

  it('lets a login that waits leave when its signal fires', async () => {
    const leaving = new AbortController();
    void logIn('a1');
    const waiting = logIn('a2', { signal: leaving.signal });
    void logIn('a3');
    leaving.abort(new Error('not wanted any more'));
    await expect(waiting).rejects.toThrow('not wanted any more');
    await clock.advance(seconds(9));
    expect(started).toEqual([
      ['a1', 0],
      ['a3', 2_000],
    ]);
  });

  it('keeps its distance when the wall clock is set back', async () => {
    await logIn('a1');
    clock.jump(-seconds(3_600));
    void logIn('a2');
    await clock.advance(seconds(9));
    expect(started[1]).toEqual(['a2', 2_000]);
  });

  it('leaves no timer behind when it closes, and starts no login', async () => {
    await Promise.all([logIn('one'), logIn('two')]);
    const waiting = logIn('other').catch(String);
    expect(clock.timers).toBe(2);
    closing.abort(new Error('closing'));
    expect(await waiting).toBe('Error: closing');
    await clock.advance(seconds(9));
    expect([clock.timers, started.length]).toEqual([0, 2]);
  });

  it('sets no timer after a login that outlasts the closing', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const login = users.run('one', turnOf(aTicket()), () => promise, closing.signal);
    closing.abort();
    resolve();
    await login;
    expect(clock.timers).toBe(0);
  });
});
