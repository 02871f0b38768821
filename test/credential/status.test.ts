import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { type Attempt, conditionOf, type Outcome, statusFor } from '../../src/credential/status.ts';
import { FAILURE_KINDS, Failure, type FailureKind } from '../../src/lib/failure.ts';
import { minutes, rfc3339 } from '../../src/lib/time.ts';
import { aCredential, aMark, KINDS, START } from '../support/builders.ts';

const NOW = START + minutes(1);
const LATE = START + minutes(5);
const REASONS = [
  'TokenMissing',
  'CredentialChanged',
  'SpecChanged',
  'TargetEdited',
  'RenewRequested',
  'RenewalDue',
] as const;

const anOutcome = (overrides: Partial<Outcome> = {}): Outcome => ({
  resource: aCredential({ metadata: { generation: 3 } }),
  targetName: 'loyalty-token',
  targetVersion: '7',
  tokenUrl: 'https://example.org/token',
  currentToken: aMark(),
  suspended: false,
  handledRenewRequest: undefined,
  rejection: undefined,
  attempt: undefined,
  ...overrides,
});

const failed = (kind: FailureKind = 'NetworkError'): Attempt => ({
  failed: new Failure(kind, `because of ${kind}`),
});

const summaryOf = (outcome: Partial<Outcome>, now = NOW) => {
  const status = statusFor(anOutcome(outcome), now);
  return ['Ready', 'Renewed', 'Stalled'].map((type) => {
    const found = conditionOf(status, type);
    return found === undefined ? '-' : `${found.status} ${found.reason}`;
  });
};

describe('the conditions', () => {
  it.each<[string, Partial<Outcome>, number, [string, string, string]]>([
    [
      'a renewal',
      { attempt: { renewed: 'RenewalDue' } },
      NOW,
      ['True TokenValid', 'True RenewedOnSchedule', '-'],
    ],
    ['nothing to do', {}, NOW, ['True TokenValid', 'True TokenValid', '-']],
    [
      'a failed renewal of a good token',
      { attempt: failed() },
      NOW,
      ['True TokenValid', 'False NetworkError', '-'],
    ],
    [
      'the last moment of a token',
      { attempt: failed() },
      LATE - 1,
      ['True TokenValid', 'False NetworkError', '-'],
    ],
    [
      'a failed renewal of a token that has expired',
      { attempt: failed() },
      LATE,
      ['False TokenExpired', 'False NetworkError', '-'],
    ],
    [
      'a failure that needs a person',
      { attempt: failed('CredentialsRejected') },
      NOW,
      ['True TokenValid', 'False CredentialsRejected', 'True CredentialsRejected'],
    ],
    [
      'a first token that takes long',
      { currentToken: undefined, attempt: 'pending' },
      NOW,
      ['Unknown Pending', 'Unknown Pending', '-'],
    ],
    [
      'a failure without a token',
      { currentToken: undefined, attempt: failed() },
      NOW,
      ['False NetworkError', 'False NetworkError', '-'],
    ],
    [
      'a fault of the spec without a token',
      { currentToken: undefined, attempt: failed('InvalidSpec') },
      NOW,
      ['False InvalidSpec', 'False InvalidSpec', 'True InvalidSpec'],
    ],
    ['a suspension', { suspended: true }, NOW, ['True Suspended', 'Unknown Suspended', '-']],
    [
      'a suspension that outlasts the token',
      { suspended: true },
      LATE,
      ['False TokenExpired', 'Unknown Suspended', '-'],
    ],
    [
      'a suspension before the first token',
      { suspended: true, currentToken: undefined },
      NOW,
      ['False Suspended', 'Unknown Suspended', '-'],
    ],
    [
      'a fault during a suspension',
      { suspended: true, currentToken: undefined, attempt: failed('TargetNotOurs') },
      NOW,
      ['False TargetNotOurs', 'False TargetNotOurs', 'True TargetNotOurs'],
    ],
  ])('after %s', (_, outcome, now, expected) => {
    expect(summaryOf(outcome, now)).toEqual(expected);
  });

  it.each(KINDS)('say %s and why', (kind) => {
    const status = statusFor(anOutcome({ currentToken: undefined, attempt: failed(kind) }), NOW);
    const [ready, renewed, stalled] = status.conditions ?? [];
    expect(ready?.message).toBe(`No valid token: ${kind} (see Renewed)`);
    expect(renewed?.message).toMatch(new RegExp(`^because of ${kind}( |$)`));
    if (stalled !== undefined)
      expect(stalled.message).toBe(`Manual action is needed: ${kind} (see Renewed)`);
    expect(new Set(status.conditions?.map(({ reason }) => reason))).toEqual(new Set([kind]));
    expect(status.conditions).toHaveLength(FAILURE_KINDS[kind].isTerminal ? 3 : 2);
  });

  it('of an expired token name the cause', () => {
    const messageOf = (outcome: Partial<Outcome>) =>
      conditionOf(statusFor(anOutcome(outcome), LATE), 'Ready')?.message;
    expect(messageOf({ attempt: failed() })).toMatch(
      /"loyalty-token" has expired: NetworkError \(see Renewed\)/,
    );
    expect(messageOf({ suspended: true })).toMatch(/renewal is suspended/);
  });

  it.each([
    [
      'ClientSecretRejected',
      ' The client secret is in Secret "convercus-abc", key "client_secret".',
    ],
    [
      'CredentialsRejected',
      ' User name and password are in Secret "convercus-abc", keys "username" and "password".',
    ],
    ['NetworkError', ''],
  ] as const)('of %s name the Secret and the keys that were presented', (kind, ending) => {
    const status = statusFor(anOutcome({ attempt: failed(kind) }), NOW);
    expect(conditionOf(status, 'Renewed')?.message).toBe(`because of ${kind}${ending}`);
  });

  it('keep the reason of the last renewal while nothing happens', () => {
    const before = statusFor(anOutcome({ attempt: { renewed: 'SpecChanged' } }), NOW);
    const resource = { ...anOutcome().resource, status: before };
    expect(statusFor(anOutcome({ resource }), NOW + 1)).toEqual(before);
  });

  it('carry the generation, all of them', () => {
    const { observedGeneration, conditions = [] } = statusFor(
      anOutcome({ attempt: failed('InvalidScope') }),
      NOW,
    );
    expect(observedGeneration).toBe(3);
    expect(conditions.map((condition) => condition.observedGeneration)).toEqual([3, 3, 3]);
  });

  it('fit the form that Kubernetes asks for', () => {
    for (const renewed of REASONS) {
      for (const { type, reason, message, lastTransitionTime } of statusFor(
        anOutcome({ attempt: { renewed } }),
        NOW,
      ).conditions ?? []) {
        expect([type, reason].join()).toMatch(/^[A-Za-z]+,[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/);
        expect(message).not.toBe('');
        expect(lastTransitionTime).toBe(rfc3339(NOW));
      }
    }
  });
});

describe('the status', () => {
  it('shows the times of the token that the target holds, and where it is', () => {
    expect(statusFor(anOutcome({ handledRenewRequest: 'a' }), NOW)).toMatchObject({
      tokenUrl: 'https://example.org/token',
      issuedAt: '2026-09-21T12:00:00Z',
      expiresAt: '2026-09-21T12:05:00Z',
      renewAt: '2026-09-21T12:04:00Z',
      target: { name: 'loyalty-token', resourceVersion: '7' },
      lastHandledRenewRequest: 'a',
    });
  });

  it('leaves out what there is not', () => {
    const { tokenUrl: _, ...outcome } = anOutcome({
      currentToken: undefined,
      targetVersion: undefined,
    });
    const status = statusFor({ ...outcome, attempt: failed() }, NOW);
    expect(Object.keys(status).sort()).toEqual([
      'conditions',
      'lastFailureTime',
      'observedGeneration',
      'target',
    ]);
    expect(status.target).toEqual({ name: 'loyalty-token' });
  });

  it('says when the last attempt failed and when the next is made, if that is a minute away', () => {
    const at = NOW - 5_000;
    const attemptOf = (wait: number): Attempt => {
      return { failed: new Failure('ClientSecretRejected', 'm'), at, retryAt: at + wait };
    };
    const statusOf = (wait: number) => statusFor(anOutcome({ attempt: attemptOf(wait) }), NOW);
    expect(statusOf(minutes(15))).toMatchObject({
      lastFailureTime: rfc3339(at),
      nextAttemptAt: rfc3339(at + minutes(15)),
    });
    expect(statusOf(minutes(1) - 1)).not.toHaveProperty('nextAttemptAt');
    const resource = { ...anOutcome().resource, status: statusOf(minutes(15)) };
    expect(statusFor(anOutcome({ resource }), NOW + 1_000)).toEqual(resource.status);
    const renewed = statusFor(anOutcome({ resource, attempt: { renewed: 'RenewalDue' } }), NOW);
    expect(renewed).not.toHaveProperty('lastFailureTime');
    expect(renewed).not.toHaveProperty('nextAttemptAt');
  });

  it('shows the claims of the token in place, until there is another', () => {
    const claims = { issuer: 'https://id.test' };
    const first = statusFor(anOutcome({ attempt: { renewed: 'TokenMissing', claims } }), NOW);
    expect(first.token).toEqual(claims);
    const resource = { ...anOutcome().resource, status: first };
    expect(statusFor(anOutcome({ resource }), NOW).token).toEqual(claims);
    expect(statusFor(anOutcome({ resource, attempt: failed() }), NOW).token).toEqual(claims);
    const opaque = statusFor(anOutcome({ resource, attempt: { renewed: 'RenewalDue' } }), NOW);
    expect(opaque).not.toHaveProperty('token');
    const gone = statusFor(
      anOutcome({ resource, currentToken: undefined, attempt: failed() }),
      NOW,
    );
    expect(gone).not.toHaveProperty('token');
  });

  const anAttempt = fc.option(
    fc.oneof(
      fc.constantFrom(...REASONS).map((renewed): Attempt => ({ renewed })),
      fc.constantFrom(...KINDS).map(failed),
    ),
    { nil: undefined },
  );
  const someOutcome = fc
    .record({
      currentToken: fc.constantFrom(aMark(), undefined),
      suspended: fc.boolean(),
      attempt: anAttempt,
    })
    .map(anOutcome);
  const aMoment = fc.integer({ min: NOW, max: LATE + minutes(60) });

  it('of an equal outcome is equal, however late: no message holds a time or a count', () => {
    fc.assert(
      fc.property(someOutcome, aMoment, aMoment, (outcome, one, other) => {
        fc.pre(one < LATE === other < LATE);
        const status = statusFor(outcome, one);
        const resource = { ...outcome.resource, status };
        expect(statusFor({ ...outcome, resource }, other)).toEqual(status);
      }),
    );
  });

  it('moves a transition time exactly when the condition changes between true and false', () => {
    fc.assert(
      fc.property(someOutcome, someOutcome, (one, other) => {
        const before = statusFor(one, NOW);
        const resource = { ...other.resource, status: before };
        for (const condition of statusFor({ ...other, resource }, NOW + 60_000).conditions ?? []) {
          const previous = conditionOf(before, condition.type);
          const isSame = previous?.status === condition.status;
          expect(condition.lastTransitionTime).toBe(rfc3339(isSame ? NOW : NOW + 60_000));
        }
      }),
    );
  });

  it('survives JSON unchanged', () => {
    fc.assert(
      fc.property(someOutcome, (outcome) => {
        const status = statusFor(outcome, NOW);
        expect(JSON.parse(JSON.stringify(status))).toStrictEqual(status);
      }),
    );
  });
});
