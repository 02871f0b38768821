import { expect, it } from '@jest/globals';
import type { SecretMeta } from '../../src/credential/secret.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { SharedCredentials } from '../../src/reconcile/shared-credentials.ts';
import type { ReadCredentials } from '../../src/reconcile/state.ts';
import { aParsedCredential, CANARY } from '../support/builders.ts';

const KEYS = 'clientSecret client_secret';
const credential = aParsedCredential();

const valuesOf = (text: string) => {
  const value = new Sensitive(text);
  return { clientSecret: value, username: value, password: value, org: value };
};
const metaOf = (resourceVersion: string): SecretMeta => ({ uid: 'uid-1', resourceVersion });
const found = (resourceVersion: string): ReadCredentials => ({
  meta: metaOf(resourceVersion),
  keys: KEYS,
  values: valuesOf(`${CANARY}-${resourceVersion}`),
});

/** Reads that end when they are told to. */
function reads() {
  const open: PromiseWithResolvers<ReadCredentials>[] = [];
  const read = () => {
    const next = Promise.withResolvers<ReadCredentials>();
    open.push(next);
    return next.promise;
  };
  return { open, read };
}

it('reads once for all that have seen the same version', async () => {
  const { open, read } = reads();
  const shared = new SharedCredentials();
  const wanted = { credential, keys: KEYS, source: metaOf('1') };
  const both = Promise.all([shared.read(wanted, read), shared.read(wanted, read)]);
  open[0]?.resolve(found('1'));
  expect(await both).toEqual([found('1'), found('1')]);
  await shared.read(wanted, read);
  expect(open).toHaveLength(1);
});

it('reads again for one that has seen a later version than when the read began', async () => {
  const { open, read } = reads();
  const shared = new SharedCredentials();
  const before = shared.read({ credential, keys: KEYS, source: metaOf('1') }, read);
  const after = shared.read({ credential, keys: KEYS, source: metaOf('2') }, read);
  open[0]?.resolve(found('1'));
  open[1]?.resolve(found('2'));
  expect(await Promise.all([before, after])).toEqual([found('1'), found('2')]);
});

it('reads again after the ClusterConvercusCredential was gone', async () => {
  const { open, read } = reads();
  const shared = new SharedCredentials();
  const wanted = { credential, keys: KEYS, source: metaOf('1') };
  const before = shared.read(wanted, read);
  shared.forget(credential.name);
  open[0]?.resolve(found('1'));
  const after = before.then(() => shared.read(wanted, read));
  await before;
  expect(open).toHaveLength(2);
  open[1]?.resolve(found('1'));
  expect(await after).toEqual(found('1'));
});

it('reads again for one whose spec names another Secret by now', async () => {
  const { open, read } = reads();
  const shared = new SharedCredentials();
  const edited = { ...credential, source: { ...credential.source, name: 'other' } };
  const before = shared.read({ credential, keys: KEYS, source: 'unknown' }, read);
  const after = shared.read({ credential: edited, keys: KEYS, source: 'unknown' }, read);
  open[0]?.resolve(found('1'));
  open[1]?.resolve(found('2'));
  expect(await Promise.all([before, after])).toEqual([found('1'), found('2')]);
});
