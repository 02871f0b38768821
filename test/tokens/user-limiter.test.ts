import { beforeEach, describe, expect, it } from '@jest/globals';
import { UserLimiter } from '../../src/tokens/user-limiter.ts';
import { FakeClock } from '../support/fake-clock.ts';

describe('the turns of users', () => {
  let clock: FakeClock;
  let closing: AbortController;
  let users: UserLimiter;

  beforeEach(() => {
    clock = new FakeClock();
    closing = new AbortController();
    users = new UserLimiter(clock, closing.signal);
  });

  const logIn = (user: string, login: () => Promise<unknown> = () => Promise.resolve()) =>
    users.run(user, { deadline: 0 }, login, closing.signal);

  it('leave no pause behind when they close', async () => {
    await Promise.all([logIn('one'), logIn('other')]);
    expect(clock.pendingTimers).toBe(2);
    closing.abort();
    expect(clock.pendingTimers).toBe(0);
  });

  it('begin no pause after a login that outlasts the closing', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const login = logIn('one', () => promise);
    closing.abort();
    resolve();
    await login;
    expect(clock.pendingTimers).toBe(0);
  });
});
