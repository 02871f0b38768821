import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { isInPlace, type Observation, plan, trustedToken } from '../../src/credential/plan.ts';
import { type SecretMeta, versionOf } from '../../src/credential/secret.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import {
  aMark,
  aParsedCredential,
  aSecretMeta,
  type CredentialOverrides,
  START,
} from '../support/builders.ts';

const SOURCE: SecretMeta = { uid: 'source-uid', resourceVersion: '1' };
const NOW = START + minutes(1);
const RENEW_AT = START + minutes(4);
const MERGE: CredentialOverrides = { target: { creationPolicy: 'Merge' } };
const RETAIN: CredentialOverrides = { target: { deletionPolicy: 'Retain' } };
const REQUEST: CredentialOverrides = {
  metadata: { annotations: { 'convercus.io/renew-requested-at': 'a' } },
};

/** A credential with a good token in place and nothing to do, and the changes to that. */
function seen(
  changes: Partial<Observation> = {},
  overrides: CredentialOverrides = {},
): Observation {
  const credential = aParsedCredential(overrides);
  return {
    credential,
    source: SOURCE,
    target: aSecretMeta({ tokenAnnotations: aMark({ specHash: credential.specHash }) }),
    session: 'absent',
    targetIntact: true,
    duplicate: undefined,
    handledRenewRequest: undefined,
    failedRenewRequest: undefined,
    rejection: undefined,
    validFrom: 0,
    sincePublished: undefined,
    ...changes,
  };
}

const reasonOf = (observation: Observation, now = NOW): string => {
  const next = plan(observation, now);
  if (next.do === 'publish') return next.reason;
  return next.do === 'report' ? next.failure.kind : 'nothing';
};

const needOf = (observation: Observation, now = NOW) => {
  const next = plan(observation, now);
  if (next.do !== 'publish') throw new Error('nothing to publish');
  return next.freshness;
};

/** A target of ours without the named parts. */
function without(...parts: (keyof SecretMeta)[]): SecretMeta {
  const left = Object.entries(aSecretMeta()).filter(([name]) => !parts.some((p) => p === name));
  return { uid: '', resourceVersion: '', ...Object.fromEntries(left) };
}

const mergeHash = aParsedCredential(MERGE).specHash;
/** A Secret whose owner lets the credential merge into it. */
const ALLOWED = { uid: 'x', resourceVersion: '1', allowsMergeBy: 'loyalty' };
const retainHash = aParsedCredential(RETAIN).specHash;

describe('the plan', () => {
  it('says how the owner of a Secret allows to merge into it', () => {
    const next = plan(seen({ target: { uid: 'x', resourceVersion: '1' } }, MERGE), NOW);
    expect(next.do === 'report' && next.failure.message).toBe(
      'Secret "loyalty-token" does not allow it. Its owner can: kubectl annotate secret loyalty-token convercus.io/merge=loyalty.',
    );
  });

  it('trusts a token that was merged when merging was not asked for yet', () => {
    const tokenAnnotations = aMark({ specHash: mergeHash });
    const target = { uid: 'x', resourceVersion: '1', tokenAnnotations };
    expect(trustedToken(seen({ target }, MERGE))).toEqual(tokenAnnotations);
  });

  it('is to do nothing while all is well', () => {
    expect(plan(seen(), NOW)).toEqual({ do: 'nothing', requeueAt: RENEW_AT });
  });

  it.each<[string, string, Observation]>([
    ['TokenMissing', 'no target', seen({ target: 'absent' })],
    ['TokenMissing', 'a target without a token', seen({ target: without('tokenAnnotations') })],
    [
      'CredentialChanged',
      'another version of the source',
      seen({
        source: { ...SOURCE, resourceVersion: '2' },
      }),
    ],
    [
      'CredentialChanged',
      'another Secret of that name',
      seen({ source: { ...SOURCE, uid: 'new' } }),
    ],
    ['CredentialChanged', 'no source', seen({ source: 'absent' })],
    ['nothing', 'a source that was not seen yet', seen({ source: 'unknown' })],
    [
      'SpecChanged',
      'another spec',
      seen({
        target: aSecretMeta({
          tokenAnnotations: aMark({ specHash: 'other' }),
        }),
      }),
    ],
    ['TargetEdited', 'contents by another client', seen({ targetIntact: false })],
    ['TargetEdited', 'a lost owner reference', seen({ target: without('controllerUid') })],
    ['TargetEdited', 'a lost label', seen({ target: without('credentialName') })],
    [
      'TargetEdited',
      'an owner where there should be none',
      seen(
        {
          target: aSecretMeta({ tokenAnnotations: aMark({ specHash: retainHash }) }),
        },
        RETAIN,
      ),
    ],
    [
      'nothing',
      'a kept target without an owner',
      seen(
        {
          target: {
            ...without('controllerUid'),
            tokenAnnotations: aMark({ specHash: retainHash }),
          },
        },
        RETAIN,
      ),
    ],
    ['RenewRequested', 'a request to renew', seen({}, REQUEST)],
    ['nothing', 'a request that was answered', seen({ handledRenewRequest: 'a' }, REQUEST)],
    [
      'RenewRequested',
      'a request that failed for what may pass',
      seen({ handledRenewRequest: 'a', failedRenewRequest: 'a' }, REQUEST),
    ],
    [
      'nothing',
      'another request that failed',
      seen({ handledRenewRequest: 'a', failedRenewRequest: 'b' }, REQUEST),
    ],
    [
      'nothing',
      'a request that led to this token',
      seen(
        {
          target: aSecretMeta({ tokenAnnotations: aMark({ renewRequest: 'a' }) }),
        },
        REQUEST,
      ),
    ],
    ['RenewRequested', 'a request with another value', seen({ handledRenewRequest: 'b' }, REQUEST)],
    [
      'InputInvalid',
      'a source that is the target of another',
      seen({ source: { ...SOURCE, credentialName: 'other' } }),
    ],
    [
      'InputInvalid',
      'a source that another has merged its token into',
      seen({ source: { ...SOURCE, tokenAnnotations: aMark() } }),
    ],
    [
      'InputInvalid',
      'a source that holds the session of another',
      seen({ source: { ...SOURCE, isSession: true } }),
    ],
    ['TargetNotOurs', 'a rival', seen({ duplicate: 'other' })],
    [
      'TargetNotOurs',
      'a target owned by another',
      seen({
        target: aSecretMeta({ controllerUid: 'other' }),
      }),
    ],
    [
      'TargetNotOurs',
      'a target owned by another, labelled for us',
      seen({
        target: aSecretMeta({ controllerUid: 'other', credentialName: 'loyalty' }),
      }),
    ],
    [
      'TargetNotOurs',
      'a target of another name',
      seen({
        target: { ...without('controllerUid'), credentialName: 'other' },
      }),
    ],
    [
      'TargetNotOurs',
      'a Secret of another owner',
      seen({
        target: { uid: 'x', resourceVersion: '1' },
      }),
    ],
    ['TargetMissing', 'nothing to merge into', seen({ target: 'absent' }, MERGE)],
    ['TokenMissing', 'a Secret to merge into', seen({ target: ALLOWED }, MERGE)],
    [
      'nothing',
      'a token that was merged',
      seen({ target: { ...ALLOWED, tokenAnnotations: aMark({ specHash: mergeHash }) } }, MERGE),
    ],
    [
      'TargetNotOurs',
      'the target of another credential to merge into',
      seen({ target: { ...ALLOWED, credentialName: 'other' } }, MERGE),
    ],
    [
      'TargetNotOurs',
      'the session of the credential to merge into',
      seen({ target: { ...ALLOWED, credentialName: 'loyalty', isSession: true } }, MERGE),
    ],
    [
      'MergeNotAllowed',
      'a Secret to merge into that allows no credential',
      seen({ target: { uid: 'x', resourceVersion: '1' } }, MERGE),
    ],
    [
      'MergeNotAllowed',
      'a Secret to merge into that allows another credential',
      seen({ target: { ...ALLOWED, allowsMergeBy: 'other' } }, MERGE),
    ],
    [
      'MergeNotAllowed',
      'the target of another credential to merge into that allows none',
      seen({ target: { uid: 'x', resourceVersion: '1', credentialName: 'other' } }, MERGE),
    ],
  ])('is %s given %s', (expected, _, observation) => {
    expect(reasonOf(observation)).toBe(expected);
  });

  it('is to renew from the very moment on that the mark names', () => {
    expect(reasonOf(seen(), RENEW_AT - 1)).toBe('nothing');
    expect(reasonOf(seen(), RENEW_AT)).toBe('RenewalDue');
  });

  it('names the first reason of all that hold', () => {
    const order: string[] = [];
    let changes: Partial<Observation> = {
      duplicate: 'other',
      target: { uid: 'x', resourceVersion: '1' },
      targetIntact: false,
      source: 'absent',
    };
    const overrides = { ...REQUEST };
    const now = RENEW_AT;
    const next = (more: Partial<Observation>) => {
      order.push(reasonOf(seen(changes, overrides), now));
      changes = { ...changes, ...more };
    };
    next({ duplicate: undefined });
    next({ target: without('tokenAnnotations') });
    next({ target: aSecretMeta({ tokenAnnotations: aMark({ specHash: 'other' }) }) });
    next({ source: SOURCE });
    next({ target: aSecretMeta() });
    next({ targetIntact: true });
    next({ handledRenewRequest: 'a' });
    next({});

    expect(order).toEqual([
      'TargetNotOurs',
      'TargetNotOurs',
      'TokenMissing',
      'CredentialChanged',
      'SpecChanged',
      'TargetEdited',
      'RenewRequested',
      'RenewalDue',
    ]);
  });

  it('is to do nothing while suspended, but a fault is told', () => {
    const suspended = { spec: { suspend: true } };
    expect(reasonOf(seen({ target: 'absent' }, suspended), RENEW_AT)).toBe('nothing');
    expect(reasonOf(seen({ duplicate: 'other' }, suspended))).toBe('TargetNotOurs');
  });

  it('names the Secret and what to do about a fault', () => {
    const next = plan(seen({ duplicate: 'other' }), NOW);
    expect(next.do === 'report' && next.failure.message).toMatch(/"loyalty-token".*"other"/);
  });

  it('never leaves a token alone from its renewal on, and never renews one before without a reason', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: hours(48) }), (passed) => {
        const expected = START + passed < RENEW_AT ? 'nothing' : 'RenewalDue';
        expect(reasonOf(seen(), START + passed)).toBe(expected);
      }),
    );
  });
});

describe('the least time between two publications', () => {
  const since = (passed: number, changes: Partial<Observation>, overrides?: CredentialOverrides) =>
    plan(seen({ sincePublished: passed, ...changes }, overrides), NOW);
  const touched: Partial<Observation> = { source: { ...SOURCE, resourceVersion: '2' } };

  it.each<[string, Partial<Observation>]>([
    ['a credentials Secret that was written again', touched],
    ['tokens that were revoked', { validFrom: NOW }],
    ['a token that is due', { target: aSecretMeta({ tokenAnnotations: aMark({ renewAt: NOW }) }) }],
  ])('has to pass for %s', (_, changes) => {
    expect(since(seconds(29), changes)).toEqual({ do: 'nothing', requeueAt: NOW + seconds(1) });
    expect(since(seconds(30), changes)).toMatchObject({ do: 'publish' });
    expect(since(hours(1), changes)).toMatchObject({ do: 'publish' });
    expect(plan(seen(changes), NOW)).toMatchObject({ do: 'publish' });
  });

  it.each<[string, Partial<Observation>, CredentialOverrides]>([
    ['TokenMissing', { target: 'absent' }, {}],
    ['TokenMissing', { target: without('tokenAnnotations') }, {}],
    ['SpecChanged', {}, { spec: { scope: 'openid profile' } }],
    ['SpecChanged', touched, { spec: { scope: 'openid profile' } }],
    ['CredentialChanged', { source: { ...SOURCE, uid: 'another' } }, {}],
    ['CredentialChanged', { source: 'absent' }, {}],
    ['TargetEdited', { targetIntact: false }, {}],
    ['RenewRequested', {}, REQUEST],
    ['RenewRequested', touched, REQUEST],
  ])('does not count for %s', (reason, changes, overrides) => {
    const target = aSecretMeta({ tokenAnnotations: aMark() });
    expect(since(0, { target, ...changes }, overrides)).toMatchObject({ do: 'publish', reason });
  });

  it('is counted from the last publication, not from the issue of its token', () => {
    expect(since(seconds(5), touched)).toEqual({ do: 'nothing', requeueAt: NOW + seconds(25) });
  });

  it('never lasts longer than half of what was left of the token when it was published', () => {
    const aLength = fc.integer({ min: 0, max: minutes(10) });
    fc.assert(
      fc.property(aLength, aLength, aLength, (minimum, passed, left) => {
        const tokenAnnotations = aMark({ expiresAt: NOW + left, renewAt: NOW });
        const observation = seen({
          sincePublished: passed,
          target: aSecretMeta({ tokenAnnotations }),
        });
        const renewal = { ...observation.credential.renewal, minimum };
        const credential = { ...observation.credential, renewal };
        const next = plan({ ...observation, credential }, NOW);
        if (next.do === 'publish') {
          expect(passed).toBeGreaterThanOrEqual(Math.min(minimum, (left + passed) / 2));
        } else {
          expect(passed).toBeLessThan(minimum);
          const at = next.do === 'nothing' ? (next.requeueAt ?? Infinity) : Infinity;
          expect(at).toBeGreaterThan(NOW);
          expect(at).toBeLessThanOrEqual(NOW - passed + Math.min(minimum, (left + passed) / 2));
        }
      }),
    );
  });

  it('lets a renew request come before what has to wait', () => {
    const observation = seen({ sincePublished: 0, ...touched }, REQUEST);
    const until = START + seconds(30);
    expect(plan(observation, until - 1)).toMatchObject({ do: 'nothing', requeueAt: until });
  });
});

describe('the token that is needed', () => {
  it('is any that is still good when only the target is out of date', () => {
    expect(needOf(seen({ target: 'absent' }))).toEqual({ newerThan: 0, requested: false });
    expect(needOf(seen({ targetIntact: false }))).toEqual({ newerThan: 0, requested: false });
  });

  it('is newer than the one held when that is due', () => {
    expect(needOf(seen(), RENEW_AT)).toEqual({ newerThan: START, requested: false });
  });

  it('is newer than the least time between renewals when a person asks, and than the one held', () => {
    expect(needOf(seen({}, REQUEST))).toEqual({ newerThan: NOW - seconds(30), requested: true });
    expect(needOf(seen({}, REQUEST), START + seconds(30))).toEqual({
      newerThan: START,
      requested: true,
    });
  });

  it('is not asked for before the token held is as old as the least time between renewals', () => {
    const until = START + seconds(30);
    expect(plan(seen({}, REQUEST), until - 1)).toEqual({ do: 'nothing', requeueAt: until });
    expect(plan(seen({}, REQUEST), until)).toMatchObject({ reason: 'RenewRequested' });
  });

  it('is what the person asks for, also where another reason comes first', () => {
    const freshness = needOf(seen({ targetIntact: false }, REQUEST));
    expect(freshness).toEqual({ newerThan: NOW - seconds(30), requested: true });
  });
});

describe('the token that people can read', () => {
  it('is the one in an untouched target of ours', () => {
    expect(trustedToken(seen())).toEqual(aMark());
    expect(isInPlace(seen())).toBe(true);
  });

  it.each<[string, Observation]>([
    ['without a target', seen({ target: 'absent' })],
    ['in an edited target', seen({ targetIntact: false })],
    ['in the target of a rival', seen({ duplicate: 'other' })],
    ['in a target of another owner', seen({ target: aSecretMeta({ controllerUid: 'other' }) })],
    [
      'in the leftover target of another credential',
      seen(
        {
          target: {
            uid: 'x',
            resourceVersion: '1',
            tokenAnnotations: aMark(),
            credentialName: 'other',
          },
        },
        MERGE,
      ),
    ],
  ])('is none %s', (_, observation) => {
    expect(trustedToken(observation)).toBeUndefined();
  });
});

it('a version tells Secrets of the same name apart', () => {
  expect(versionOf(SOURCE)).toBe('source-uid/1');
});
