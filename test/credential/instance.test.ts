import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  clusterKeyOf,
  clusterNameIn,
  clusterNameOf,
  instanceKeyOf,
  instanceNameOf,
} from '../../src/credential/cluster-name.ts';
import { parseCredential, sessionNameOf } from '../../src/credential/credential.ts';
import { type CredentialResource, instanceIn, selects } from '../../src/credential/instance.ts';
import {
  credentialLabels,
  credentialOfManager,
  managerFor,
  ownerFrom,
} from '../../src/credential/target-secret.ts';
import { clusterCredentialFrom, namespaceFrom } from '../../src/kubernetes/cluster-objects.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { splitKey } from '../../src/lib/key.ts';
import { aCredential, SETTINGS } from '../support/builders.ts';
import { aClusterCredential } from '../support/cluster-world.ts';
import { runs } from '../support/runs.ts';

const anyName = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]{1,5})?$/);
const anyLabels = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('1', '2', ''));
const requirement = fc.record({
  key: fc.constantFrom('a', 'b', 'c', 'd'),
  operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'),
  values: fc.array(fc.constantFrom('1', '2', ''), { maxLength: 2 }),
} as const);
const anySelector = fc.record(
  {
    matchLabels: anyLabels,
    matchExpressions: fc.array(requirement, { maxLength: 3 }),
  },
  { requiredKeys: [] },
);

describe('the namespaces of a cluster credential', () => {
  const shop = (labels: Record<string, string> = {}) => ({ name: 'shop', labels });

  it('are those that it lists, and those whose labels match', () => {
    expect(selects({}, shop())).toBe(false);
    expect(selects({ namespaces: ['shop'] }, shop())).toBe(true);
    expect(selects({ namespaces: ['other'] }, shop())).toBe(false);
    expect(selects({ namespaceSelector: {} }, shop())).toBe(true);
    const namespaceSelector = { matchLabels: { team: 'a' } };
    expect(selects({ namespaceSelector }, shop({ team: 'a', more: 'b' }))).toBe(true);
    expect(selects({ namespaceSelector }, shop({ team: 'b' }))).toBe(false);
    expect(selects({ namespaceSelector, namespaces: ['shop'] }, shop())).toBe(true);
  });

  it.each([
    ['In', { a: '1' }, true],
    ['In', {}, false],
    ['NotIn', { a: '1' }, false],
    ['NotIn', {}, true],
    ['NotIn', { a: '3' }, true],
    ['Exists', { a: '9' }, true],
    ['Exists', {}, false],
    ['DoesNotExist', {}, true],
    ['DoesNotExist', { a: '1' }, false],
  ] as const)('%s for the labels %j: %s', (operator, labels, expected) => {
    const values = operator === 'In' || operator === 'NotIn' ? ['1', '2'] : [];
    const namespaceSelector = { matchExpressions: [{ key: 'a', operator, values }] };
    expect(selects({ namespaceSelector }, shop(labels))).toBe(expected);
  });

  it('never become more by one more requirement', () => {
    fc.assert(
      fc.property(anySelector, requirement, anyLabels, (selector, more, labels) => {
        const { matchExpressions = [] } = selector;
        const narrower = { ...selector, matchExpressions: [...matchExpressions, more] };
        const isSelected = selects({ namespaceSelector: narrower }, shop(labels));
        if (isSelected) expect(selects({ namespaceSelector: selector }, shop(labels))).toBe(true);
      }),
      { numRuns: runs(500) },
    );
  });

  it('with a label named as a member of every object do not match by it', () => {
    const namespaceSelector = {
      matchExpressions: [{ key: 'constructor', operator: 'Exists' as const }],
    };
    expect(selects({ namespaceSelector }, shop())).toBe(false);
  });

  it('are none for a selector that is no selector', () => {
    fc.assert(
      fc.property(
        fc.jsonValue(),
        fc.jsonValue(),
        anyLabels,
        (namespaceSelector, namespaces, labels) => {
          const metadata = { name: 'a', uid: 'u', generation: 1 };
          const found = clusterCredentialFrom({
            metadata,
            spec: { namespaceSelector, namespaces },
          });
          expect(typeof selects(found?.spec ?? {}, shop(labels))).toBe('boolean');
        },
      ),
      { numRuns: runs(500) },
    );
    const broken = { matchExpressions: [{ key: 'a', operator: 'Near' }] };
    const metadata = { name: 'a', uid: 'u' };
    const found = clusterCredentialFrom({ metadata, spec: { namespaceSelector: broken } });
    expect(selects(found?.spec ?? {}, shop({ a: '1' }))).toBe(false);
  });
});

describe('an instance', () => {
  const SHOP = { name: 'shop', isTerminating: false };

  it('has a name that no ConvercusCredential has, and that leads back', () => {
    fc.assert(
      fc.property(anyName, anyName, (name, namespace) => {
        const instance = instanceNameOf(name);
        expect(clusterNameOf(instance)).toBe(name);
        expect(clusterNameOf(name)).toBeUndefined();
        expect(
          isFailure(parseCredential(aCredential({ metadata: { name: instance } }), SETTINGS)),
        ).toBe(false);
        expect(splitKey(instanceKeyOf(name, namespace))).toEqual({ namespace, name: instance });
        expect(clusterNameIn(clusterKeyOf(name))).toBe(name);
        expect(clusterNameIn(instanceKeyOf(name, namespace))).toBeUndefined();
        expect(clusterNameIn(`${namespace}/${name}`)).toBeUndefined();
        expect(credentialOfManager(managerFor(instance))).toBe(instance);
        expect(credentialOfManager(managerFor(name))).toBe(name);
      }),
      { numRuns: runs(200) },
    );
  });

  it('is a credential of its namespace, with its credentials Secret elsewhere', () => {
    const credential = parseCredential(instanceIn(aClusterCredential(), SHOP, 'ops'), SETTINGS);
    if (isFailure(credential)) throw new Error(credential.message);
    expect(credential).toMatchObject({
      namespace: 'shop',
      uid: 'uid-of-cluster-loyalty',
      source: { namespace: 'ops', name: 'convercus-abc' },
      target: { name: 'convercus-token', creationPolicy: 'Owner' },
    });
    expect(sessionNameOf(credential.name)).toBe('loyalty-cluster-session');
    expect(credentialLabels(credential.name)).toMatchObject({
      'convercus.io/cluster-credential': 'loyalty',
    });
    expect(ownerFrom(credential.name, 'u')).toEqual({
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ClusterConvercusCredential',
      name: 'loyalty',
      uid: 'u',
    });
  });

  it('wants the same as all others, so that they share request and token', () => {
    const [one, other] = ['a', 'b'].map((name) =>
      parseCredential(
        instanceIn(aClusterCredential(), { name, isTerminating: false }, 'ops'),
        SETTINGS,
      ),
    );
    if (one === undefined || isFailure(one)) throw new Error('not parsed');
    expect(other).toMatchObject({ specHash: one.specHash, dataHash: one.dataHash, uid: one.uid });
  });

  const faultOf = (resource: CredentialResource): string | undefined => {
    const parsed = parseCredential(resource, SETTINGS);
    return isFailure(parsed) ? parsed.message : undefined;
  };

  it('may have a target of the name of its credentials Secret, but not beside it', () => {
    const cluster = aClusterCredential({ target: { name: 'convercus-abc' } });
    expect(faultOf(instanceIn(cluster, SHOP, 'ops'))).toBeUndefined();
    expect(faultOf(instanceIn(cluster, { ...SHOP, name: 'ops' }, 'ops'))).toContain(
      'the token needs a Secret of its own',
    );
    const session = aClusterCredential({ target: { name: 'loyalty-cluster-session' } });
    expect(faultOf(instanceIn(session, { ...SHOP, name: 'ops' }, 'ops'))).toContain('session');
  });

  it('never merges, whatever is stored, and needs the name of its target', () => {
    const stored = {
      metadata: { name: 'loyalty', uid: 'u', generation: 1 },
      spec: { ...aClusterCredential().spec, target: { creationPolicy: 'Merge', name: 'a' } },
    };
    const merging = clusterCredentialFrom({
      ...stored,
      spec: { ...stored.spec, target: { ...stored.spec.target, deletionPolicy: 'Delete' } },
    });
    if (merging === undefined) throw new Error('not read');
    expect(faultOf(instanceIn(merging, SHOP, 'ops'))).toContain('write Owner');
    const nameless = clusterCredentialFrom({ ...stored, spec: { ...stored.spec, target: {} } });
    if (nameless === undefined) throw new Error('not read');
    expect(faultOf(instanceIn(nameless, SHOP, 'ops'))).toContain('spec.target.name');
  });
});

describe('a Namespace', () => {
  it('is read by name, labels and whether it is being deleted', () => {
    const metadata = { name: 'shop', labels: { team: 'a' }, uid: 'u' };
    expect(namespaceFrom({ metadata })).toEqual({
      name: 'shop',
      labels: { team: 'a' },
      isTerminating: false,
    });
    const deletionTimestamp = '2026-01-01T00:00:00Z';
    expect(namespaceFrom({ metadata: { ...metadata, deletionTimestamp } })?.isTerminating).toBe(
      true,
    );
    expect(namespaceFrom({})).toBeUndefined();
  });
});
