import { describe, expect, it } from '@jest/globals';
import { Failure, type FailureKind, TOKEN_FAILURES } from '../../src/lib/failure.ts';
import { type Action, hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { START } from '../support/builders.ts';
import { KEY, World } from '../support/world.ts';

/** When it is tried again by itself after the first failure, with the randomness of these tests. */
const NEVER = undefined;

/** What each answer of a token endpoint means for a credential: the next try, and whether a person has to act. */
const TABLE: Readonly<
  Partial<Record<FailureKind, readonly [again: Ms | undefined, stalls: boolean]>>
> = {
  CredentialsRejected: [NEVER, true],
  InvalidScope: [hours(1), true],
  InvalidRequest: [hours(1), true],
  UnsupportedByOperator: [hours(1), true],
  AccountDisabled: [hours(1), true],
  AccountNotReady: [hours(1), true],
  ClientUnknownOrDisabled: [hours(1), true],
  GrantNotAllowed: [hours(1), true],
  RealmNotFound: [hours(1), true],
  ClientSecretRejected: [minutes(15), true],
  InsecureEndpoint: [minutes(15), true],
  UnexpectedRedirect: [minutes(15), true],
  RealmDisabled: [minutes(15), false],
  AccessBlocked: [minutes(15), false],
  SessionContention: [minutes(15), false],
  UnexpectedResponse: [minutes(1), false],
  EndpointNotFound: [minutes(1), false],
  TLSError: [minutes(1), false],
  ShortLivedToken: [minutes(1), false],
  ClockSkew: [minutes(1), false],
  NetworkError: [seconds(1), false],
  ServerUnavailable: [seconds(1), false],
  RateLimited: [seconds(1), false],
  SessionEnded: [seconds(1), false],
  RefreshTokenReused: [seconds(1), false],
};

const ROWS = Object.entries(TABLE).map(([kind, [again, stalls]]) => ({ kind, again, stalls }));

const waitOf = (action: Action, now: number): Ms | undefined =>
  action === 'await-change' ? undefined : action.requeueAt - now;

function failing(kind: string): World {
  const world = World.with();
  const found = [...TOKEN_FAILURES].find((each): each is FailureKind => each === kind);
  if (found === undefined) throw new Error(`${kind} is no failure of a token endpoint`);
  world.idp.outage = new Failure(found, `Because of ${kind}`);
  return world;
}

it('covers everything that a token endpoint can say', () => {
  expect(Object.keys(TABLE).sort()).toEqual([...TOKEN_FAILURES].sort());
});

describe('without a token', () => {
  it.each(ROWS)(
    '$kind: tried again after $again ms, stalled: $stalls',
    async ({ kind, ...row }) => {
      const world = failing(kind);
      const action = await world.reconcile();

      expect(waitOf(action, START)).toBe(row.again);
      expect(world.summary('Ready')).toBe(`False ${kind}`);
      expect(world.summary('Renewed')).toBe(`False ${kind}`);
      expect(world.summary('Stalled')).toBe(row.stalls ? `True ${kind}` : 'absent');
      expect(world.condition('Renewed')?.message).toMatch(new RegExp(`^Because of ${kind}( |$)`));
      expect(world.eventSummaries).toEqual([`Warning ${kind}`]);
    },
  );
});

describe('with a token that is still valid', () => {
  it.each(ROWS)('$kind: the token stays, and people are told', async ({ kind, stalls }) => {
    const world = World.with();
    const first = await world.reconcile();
    world.idp.outage = failing(kind).idp.outage;
    await world.runFor(minutes(4), first);

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe(`False ${kind}`);
    expect(world.summary('Stalled')).toBe(stalls ? `True ${kind}` : 'absent');
    expect(world.eventSummaries).toEqual(['Normal TokenIssued', `Warning ${kind}`]);
    world.clock.step(minutes(1));
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.condition('Renewed')?.message).toContain(`Because of ${kind}`);
    expect(world.cluster.statusOf(KEY)?.expiresAt).toBe('2026-09-21T12:05:00Z');
  });
});
