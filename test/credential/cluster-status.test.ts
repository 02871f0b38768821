import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { clusterStatusFor } from '../../src/credential/cluster-status.ts';
import { type CredentialResource, instanceIn } from '../../src/credential/instance.ts';
import { conditionOf, type Status } from '../../src/credential/status.ts';
import { rfc3339 } from '../../src/lib/time.ts';
import { START } from '../support/builders.ts';
import { aClusterCredential } from '../support/cluster-world.ts';
import { runs } from '../support/runs.ts';

const CLUSTER = aClusterCredential();

const instance = (
  namespace: string,
  status: Status = {},
  isTerminating = false,
): CredentialResource => ({
  ...instanceIn(CLUSTER, { name: namespace, isTerminating }, 'ops'),
  status,
});

const condition = (type: string, status: 'True' | 'False' | 'Unknown', reason: string) => ({
  type,
  status,
  reason,
  message: `message of ${reason}`,
  lastTransitionTime: rfc3339(START),
  observedGeneration: 1,
});

const READY: Status = {
  observedGeneration: 1,
  conditions: [condition('Ready', 'True', 'TokenValid'), condition('Renewed', 'True', 'Issued')],
  issuedAt: rfc3339(START),
  expiresAt: rfc3339(START + 300_000),
  renewAt: rfc3339(START + 240_000),
};

const failing = (reason: string, more: Status = {}): Status => ({
  observedGeneration: 1,
  conditions: [condition('Ready', 'False', reason), condition('Renewed', 'False', reason)],
  ...more,
});

const shown = (status: Pick<Status, 'conditions'>): string[] =>
  (status.conditions ?? []).map(({ type, ...rest }) => `${type} ${rest.status} ${rest.reason}`);

const statusOf = (instances: readonly CredentialResource[], missing: readonly string[] = []) =>
  clusterStatusFor({ resource: CLUSTER, instances, missing }, START);

describe('the status of a cluster credential', () => {
  it('is that of its instances when all are alike', () => {
    const status = statusOf([instance('a', READY), instance('b', READY)]);
    expect(shown(status)).toEqual(['Ready True TokenValid', 'Renewed True Issued']);
    expect(conditionOf(status, 'Ready')?.message).toBe('2 of 2 namespaces hold a valid token');
    expect(status).toMatchObject({ expiresAt: READY.expiresAt, renewAt: READY.renewAt });
  });

  it('has the dates of the token that expires first', () => {
    const earlier = { ...READY, issuedAt: rfc3339(START - 60_000), expiresAt: rfc3339(START + 1) };
    const status = statusOf([instance('a', READY), instance('b', earlier)]);
    expect(status).toMatchObject({ issuedAt: earlier.issuedAt, expiresAt: earlier.expiresAt });
  });

  it('tells what fails in most namespaces, and names the first ten', () => {
    const many = Array.from({ length: 12 }, (_, at) =>
      instance(`n${10 + at}`, failing('Throttled')),
    );
    const status = statusOf([
      instance('a', failing('TargetNotOurs')),
      ...many,
      instance('z', READY),
    ]);
    expect(shown(status)).toEqual(['Ready False TargetNotOurs', 'Renewed False Throttled']);
    expect(conditionOf(status, 'Renewed')?.message).toBe(
      'In 12 of 14 namespaces: message of Throttled',
    );
    expect(status.namespaces).toEqual({ selected: 14, ready: 1, failing: 13, terminating: 0 });
    expect(status.failures).toHaveLength(10);
    expect(status.failures?.[0]).toMatchObject({ namespace: 'a', reason: 'TargetNotOurs' });
  });

  it('counts a namespace as ready and failing while its token is valid', () => {
    const conditions = [
      condition('Ready', 'True', 'TokenValid'),
      condition('Renewed', 'False', 'NetworkError'),
    ];
    const status = statusOf([instance('a', { ...READY, conditions })]);
    expect(status.namespaces).toMatchObject({ selected: 1, ready: 1, failing: 1 });
    expect(shown(status)).toEqual(['Ready True TokenValid', 'Renewed False NetworkError']);
  });

  it('is not ready with a token that has expired since it was told', () => {
    const old = { ...READY, expiresAt: rfc3339(START - 1_000) };
    expect(shown(statusOf([instance('a', old)]))[0]).toBe('Ready False TokenExpired');
  });

  it('is of the generation that every instance has reported on, but for new ones', () => {
    const resource = aClusterCredential({ metadata: { generation: 3 } });
    const instances = [instance('a', { ...READY, observedGeneration: 2 }), instance('new')];
    const status = clusterStatusFor({ resource, instances, missing: [] }, START);
    expect(status.observedGeneration).toBe(2);
    expect(status.conditions).toMatchObject([{ observedGeneration: 2 }, { observedGeneration: 2 }]);
  });

  describe('with a renew request', () => {
    const resource = {
      ...aClusterCredential({
        metadata: { annotations: { 'convercus.io/renew-requested-at': 'second' } },
      }),
      status: { lastHandledRenewRequest: 'first' },
    };
    const handled = (status: Status, request: string): Status => ({
      ...status,
      lastHandledRenewRequest: request,
    });
    const handledOf = (instances: readonly CredentialResource[]) =>
      clusterStatusFor({ resource, instances, missing: [] }, START).lastHandledRenewRequest;

    it('tells that it is handled once it is so in every namespace', () => {
      const renewed = instance('a', handled(READY, 'second'));
      expect(handledOf([renewed, instance('b', handled(READY, 'first'))])).toBe('first');
      expect(handledOf([renewed, instance('b', handled(READY, 'second'))])).toBe('second');
    });

    it('does not wait for a namespace in which something is in the way', () => {
      const renewed = instance('b', handled(READY, 'second'));
      const inTheWay = instance('a', handled(failing('TargetNotOurs'), 'first'));
      expect(handledOf([inTheWay, renewed])).toBe('second');
      expect(handledOf([inTheWay])).toBe('first');
    });
  });

  it('keeps the latest rejection of a login', () => {
    const rejected = (at: number) => ({
      ...failing('CredentialsRejected'),
      rejectedLogin: { presented: `${at}`, at: rfc3339(START + at), count: 1 },
    });
    const status = statusOf([instance('a', rejected(0)), instance('b', rejected(60_000))]);
    expect(status.rejectedLogin?.presented).toBe('60000');
  });

  const anyInstanceStatus: fc.Arbitrary<Status> = fc.oneof(
    fc.constant({}),
    fc.constant(READY),
    fc
      .record({
        reason: fc.constantFrom('NetworkError', 'TargetNotOurs', 'InputMissing', 'TokenValid'),
        ready: fc.constantFrom('True', 'False', 'Unknown'),
        renewed: fc.constantFrom('True', 'False', 'Unknown'),
        stalled: fc.boolean(),
        expires: fc.option(fc.integer({ min: -1_000_000, max: 1_000_000 })),
        generation: fc.integer({ min: 1, max: 3 }),
        message: fc.string({ maxLength: 9_000 }),
      } as const)
      .map(({ reason, ready, renewed, stalled, expires, generation, message }) => ({
        observedGeneration: generation,
        conditions: [
          condition('Ready', ready, reason),
          { ...condition('Renewed', renewed, reason), message },
          ...(stalled ? [condition('Stalled', 'True', reason)] : []),
        ],
        ...(expires === null ? {} : { expiresAt: rfc3339(START + expires) }),
      })),
  );
  const anyInstances = fc
    .array(fc.tuple(anyInstanceStatus, fc.boolean()), { maxLength: 25 })
    .map((all) =>
      all.map(([status, isTerminating], at) => instance(`n${at + 10}`, status, isTerminating)),
    );
  const anyMissing = fc.uniqueArray(fc.constantFrom('x', 'y', 'z'));

  it('keeps the bounds of the CRD, and is the same when it is made again', () => {
    fc.assert(
      fc.property(anyInstances, anyMissing, (instances, missing) => {
        const status = statusOf(instances, missing);
        const {
          selected,
          ready,
          failing: failed,
          terminating = 0,
        } = status.namespaces ?? {
          selected: -1,
          ready: 0,
          failing: 0,
        };
        expect(selected + terminating).toBe(instances.length);
        expect(Math.max(ready, failed)).toBeLessThanOrEqual(selected);
        const names = (status.failures ?? []).map(({ namespace }) => namespace);
        expect(names.length).toBe(Math.min(failed + terminating + missing.length, 10));
        expect(names).toEqual([...new Set(names)].sort());
        for (const { reason, message } of status.failures ?? []) {
          expect(reason).not.toBe('');
          expect(message.length).toBeLessThanOrEqual(4_096);
        }
        for (const each of status.conditions ?? []) expect(each.reason).not.toBe('');
        const resource = { ...CLUSTER, status: JSON.parse(JSON.stringify(status)) };
        expect(clusterStatusFor({ resource, instances, missing }, START)).toEqual(status);
      }),
      { numRuns: runs(300) },
    );
  });
});
