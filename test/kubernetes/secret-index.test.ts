import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { SecretMeta } from '../../src/credential/secret.ts';
import type { WatchedSecret } from '../../src/kubernetes/objects.ts';
import { SecretIndex } from '../../src/kubernetes/secret-index.ts';
import { type Key, keyOf, type ObjectName } from '../../src/lib/key.ts';
import { runs } from '../support/runs.ts';

/** Their parts make the same text when they are put together carelessly. */
const NAMESPACES = ['a', 'a-b', 'a.b'];
const NAMES = ['b-c', 'c', 'c-session', 'b-c-session', '__proto__'];
const KEYS: readonly Key[] = ['a/c', 'a-b/c', 'a/b-c'];

const aPlace = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  name: fc.constantFrom(...NAMES),
});
const aMeta: fc.Arbitrary<SecretMeta> = fc.record(
  {
    uid: fc.constantFrom('u1', 'u2'),
    resourceVersion: fc.integer({ min: 1, max: 30 }).map(String),
    credentialName: fc.constantFrom('c', 'b-c'),
    isSession: fc.constant(true as const),
    controllerUid: fc.constantFrom('c1', 'c2'),
  },
  { requiredKeys: ['uid', 'resourceVersion'] },
);

interface Operation {
  readonly what:
    | 'track'
    | 'untrack'
    | 'apply'
    | 'delete'
    | 'read'
    | 'gone'
    | 'write'
    | 'forget'
    | 'list';
  readonly at: ObjectName;
  readonly meta: SecretMeta;
  readonly isAbsent: boolean;
  readonly key: Key;
  readonly isWhole: boolean;
  readonly version: string;
}

const anOperation: fc.Arbitrary<Operation> = fc.record({
  what: fc.constantFrom(
    'track',
    'track',
    'untrack',
    'apply',
    'apply',
    'delete',
    'read',
    'gone',
    'write',
    'forget',
    'list',
  ),
  at: aPlace,
  meta: aMeta,
  isAbsent: fc.boolean(),
  key: fc.constantFrom(...KEYS),
  isWhole: fc.boolean(),
  version: fc.integer({ min: 1, max: 30 }).map(String),
});

/** Forgets, and ends of lists, concern a namespace or everything; the others one name. */
const concerns = ({ what, at, isWhole }: Operation, { namespace, name }: ObjectName): boolean => {
  const isWide = what === 'forget' || what === 'list';
  if (isWide && isWhole) return true;
  return at.namespace === namespace && (isWide || at.name === name);
};

function carryOut(index: SecretIndex, operation: Operation): unknown {
  const { what, at, meta, isAbsent, key, isWhole, version } = operation;
  const secret: WatchedSecret = { ...at, meta };
  const namespace = isWhole ? undefined : at.namespace;
  const operations: Record<Operation['what'], () => unknown> = {
    track: () => index.track(at, key),
    untrack: () => index.untrack(at, key),
    apply: () => index.apply(secret, meta.resourceVersion),
    delete: () => index.delete(secret),
    read: () => index.read(at, isAbsent ? 'absent' : meta),
    gone: () => index.gone(at, meta.uid),
    write: () => index.written(secret, index.changes),
    forget: () => index.forgetAll(namespace),
    list: () => void index.initDone(namespace, { changes: index.changes, asOf: version }),
  };
  return operations[what]();
}

const PLACES = NAMESPACES.flatMap((namespace) => NAMES.map((name) => ({ namespace, name })));

const seenIn = (index: SecretIndex, place: ObjectName): unknown => [
  index.get(place),
  [...index.referrers(place)],
];

describe('the index of Secrets', () => {
  it('knows of each name what an index of that name alone would know', () => {
    fc.assert(
      fc.property(fc.array(anOperation, { maxLength: 60, size: 'max' }), (operations) => {
        const index = new SecretIndex();
        const alone = new Map(PLACES.map((place) => [keyOf(place), new SecretIndex()]));
        for (const operation of operations) {
          const result = carryOut(index, operation);
          for (const place of PLACES.filter((each) => concerns(operation, each))) {
            const own = alone.get(keyOf(place)) ?? new SecretIndex();
            const expected = carryOut(own, operation);
            if (keyOf(place) === keyOf(operation.at)) expect(result).toEqual(expected);
          }
          const different = PLACES.filter((place) => {
            const own = alone.get(keyOf(place)) ?? new SecretIndex();
            return !isDeepStrictEqual(seenIn(index, place), seenIn(own, place));
          });
          expect(different).toEqual([]);
        }
        const sessions = [...alone.values()].flatMap((own) => [...own.sessions(undefined)]);
        expect([...index.sessions(undefined)].sort()).toEqual(sessions.sort());
      }),
      { numRuns: runs(100) },
    );
  });

  it('finds former targets as a look through all Secrets does', () => {
    const isFormer = (index: SecretIndex, place: ObjectName, key: Key): boolean => {
      const known = index.get(place);
      if (typeof known !== 'object' || known.isSession === true) return false;
      if (known.controllerUid === undefined) return false;
      const isLabelled = key === `${place.namespace}/${known.credentialName}`;
      return isLabelled && ![...index.referrers(place)].includes(key);
    };
    fc.assert(
      fc.property(fc.array(anOperation, { maxLength: 60, size: 'max' }), (operations) => {
        const index = new SecretIndex();
        for (const operation of operations) {
          carryOut(index, operation);
          const found = KEYS.map((key) => [...index.formerTargets(key)].sort());
          const expected = KEYS.map((key) =>
            PLACES.filter((place) => isFormer(index, place, key))
              .map(({ name }) => name)
              .sort(),
          );
          expect(found).toEqual(expected);
          const owners = KEYS.filter((_, at) => expected[at]?.length !== 0).sort();
          expect([...index.formerOwners(undefined)].sort()).toEqual(expect.arrayContaining(owners));
        }
      }),
      { numRuns: runs(100) },
    );
  });

  it('keeps what a credential names and what the operator has written, and nothing else', () => {
    // What is forgotten goes with the list that follows
    const operations = fc.array(
      anOperation.filter(({ what }) => what !== 'forget'),
      { maxLength: 60, size: 'max' },
    );
    fc.assert(
      fc.property(operations, (operations) => {
        const index = new SecretIndex();
        const named = new Map(PLACES.map((place) => [keyOf(place), new Set<Key>()]));
        for (const operation of operations) {
          carryOut(index, operation);
          const { what, at, key } = operation;
          if (what === 'track') named.get(keyOf(at))?.add(key);
          if (what === 'untrack') named.get(keyOf(at))?.delete(key);
          const kept = PLACES.filter((place) => index.isTracked(place));
          const wanted = PLACES.filter((place) => {
            const known = index.get(place);
            const isOurs = typeof known === 'object' && known.credentialName !== undefined;
            return isOurs || (named.get(keyOf(place))?.size ?? 0) > 0;
          });
          expect(kept).toEqual(wanted);
        }
        for (const place of PLACES) {
          const users = [...(named.get(keyOf(place)) ?? [])];
          expect([...index.referrers(place)].sort()).toEqual(users.sort());
        }
      }),
      { numRuns: runs(100) },
    );
  });

  it('is like a Map of what there is, when everything is shown in its order, and some of it twice', () => {
    const change = fc.record({ at: aPlace, meta: aMeta, isGone: fc.boolean(), back: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const index = new SecretIndex();
        const truth = new Map<Key, SecretMeta>();
        const shown: (() => void)[] = [];
        for (const place of PLACES) index.track(place, 'a/c');
        for (const [n, { at, meta: made, isGone, back }] of changes.entries()) {
          const before = truth.get(keyOf(at));
          if (isGone && before === undefined) continue;
          const meta = { ...made, uid: before?.uid ?? `u${n}`, resourceVersion: String(n + 1) };
          const secret = { ...at, meta };
          if (isGone) truth.delete(keyOf(at));
          else truth.set(keyOf(at), meta);
          shown.push(() => {
            if (isGone) index.delete(secret);
            else index.apply(secret, meta.resourceVersion);
          });
          shown.at(-1)?.();
          for (const again of shown.slice(-1 - back, -1)) again();
          for (const place of PLACES) {
            const known = index.get(place);
            expect(known === 'unknown' || known === 'absent' ? undefined : known).toEqual(
              truth.get(keyOf(place)),
            );
          }
        }
      }),
      { numRuns: runs(300) },
    );
  });
});
