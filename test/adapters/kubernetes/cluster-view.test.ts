import { beforeEach, describe, expect, it } from '@jest/globals';
import { ClusterCache } from '../../../src/adapters/kubernetes/cluster-view.ts';
import { credentialFrom } from '../../../src/adapters/kubernetes/credential-object.ts';
import type { WatchedSecret } from '../../../src/adapters/kubernetes/secret-meta.ts';
import type { ConvercusCredential } from '../../../src/domain/api.ts';
import type { SecretMeta } from '../../../src/domain/secret.ts';

interface Wish {
  namespace?: string;
  source?: string;
  target?: string;
  metadata?: object;
  status?: object;
}

function aCredential(name: string, wish: Wish = {}): ConvercusCredential {
  const { namespace = 'shop', source = 'source', target, metadata, status } = wish;
  const credential = credentialFrom({
    metadata: { name, namespace, uid: `uid-${name}`, generation: 1, ...metadata },
    spec: { credentialsSecretRef: { name: source }, target: { name: target } },
    status,
  });
  if (credential === undefined) throw new Error('no credential');
  return credential;
}

const meta = (resourceVersion: string, uid = 'u'): SecretMeta => ({ uid, resourceVersion });

const aSecret = (name: string, resourceVersion = '1', uid = 'u'): WatchedSecret => ({
  namespace: 'shop',
  name,
  meta: meta(resourceVersion, uid),
});

describe('the cache of the cluster', () => {
  let woken: string[];
  let cache: ClusterCache;
  let credentials: ReturnType<ClusterCache['credentialSink']>;
  let secrets: ReturnType<ClusterCache['secretSink']>;

  /** Who has been woken since the last time. */
  const wakeUps = (): string[] => woken.splice(0).sort();

  const list = (...items: WatchedSecret[]): void => {
    secrets.listStarted();
    for (const item of items) secrets.present(item);
    secrets.listEnded();
  };

  beforeEach(() => {
    woken = [];
    cache = new ClusterCache((keys) => woken.push(...keys));
    credentials = cache.credentialSink();
    secrets = cache.secretSink();
  });

  describe('of credentials', () => {
    it('knows those that are there', () => {
      const credential = aCredential('a');
      credentials.present(credential);
      expect(cache.credential('shop/a')).toEqual(credential);
      expect([...cache.credentials()]).toEqual([credential]);
      expect([...cache.credentials()]).toHaveLength(1);
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('wakes nobody for a status, but keeps it', () => {
      credentials.present(aCredential('a'));
      wakeUps();
      credentials.present(aCredential('a', { status: { observedGeneration: 1 } }));
      expect(wakeUps()).toEqual([]);
      expect(cache.credential('shop/a')?.status).toEqual({ observedGeneration: 1 });
    });

    it('keeps what has not changed as the object that it was', () => {
      credentials.present(aCredential('a', { status: { observedGeneration: 1 } }));
      const before = cache.credential('shop/a');
      credentials.present(aCredential('a', { status: { observedGeneration: 1 } }));
      expect(cache.credential('shop/a')).toBe(before);
      credentials.present(aCredential('a', { status: { observedGeneration: 2 } }));
      expect(cache.credential('shop/a')?.spec).toBe(before?.spec);
      expect(before?.status).toEqual({ observedGeneration: 1 });
    });

    it('forgets a status that is gone', () => {
      credentials.present(aCredential('a', { status: { observedGeneration: 1 } }));
      credentials.present(aCredential('a'));
      expect(cache.credential('shop/a')).toEqual(aCredential('a'));
    });

    it.each<[string, object]>([
      ['a new spec', { generation: 2 }],
      ['a request to renew', { annotations: { 'convercus.io/renew-requested-at': 'now' } }],
      ['a deletion that waits', { deletionTimestamp: '2026-11-24T00:00:00Z' }],
      ['another one of that name', { uid: 'another' }],
    ])('wakes for %s', (_, metadata) => {
      credentials.present(aCredential('a'));
      wakeUps();
      credentials.present(aCredential('a', { metadata }));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('wakes a deleted one and those who claim the same target', () => {
      credentials.present(aCredential('a', { target: 't' }));
      credentials.present(aCredential('b', { target: 't' }));
      credentials.present(aCredential('c'));
      wakeUps();
      credentials.deleted(aCredential('a', { target: 't' }));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.claimants('shop', 't').map(({ metadata }) => metadata.name)).toEqual(['b']);
      credentials.deleted(aCredential('a', { target: 't' }));
      expect(wakeUps()).toEqual([]);
    });

    it('wakes the other claimants when one moves to another target', () => {
      credentials.present(aCredential('a', { target: 't' }));
      credentials.present(aCredential('b', { target: 't' }));
      wakeUps();
      credentials.present(aCredential('a', { target: 'u', metadata: { generation: 2 } }));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.claimants('shop', 'u')).toHaveLength(1);
    });

    it('counts as claimants of a Secret only those that have it as their target', () => {
      credentials.present(aCredential('a', { target: 't' }));
      credentials.present(aCredential('b', { source: 't' }));
      credentials.present(aCredential('c', { target: 't', namespace: 'elsewhere' }));
      expect(cache.claimants('shop', 't').map(({ metadata }) => metadata.name)).toEqual(['a']);
      expect(cache.claimants('shop', 'b-token')).toHaveLength(1);
      expect(cache.claimants('shop', 'nobody')).toEqual([]);
    });

    it('forgets after a list what it did not show', () => {
      credentials.listStarted();
      credentials.present(aCredential('a'));
      credentials.present(aCredential('b'));
      credentials.listEnded();
      wakeUps();
      credentials.listStarted();
      credentials.present(aCredential('b'));
      credentials.listEnded();
      expect(wakeUps()).toEqual(['shop/a']);
      expect([...cache.credentials()]).toHaveLength(1);
    });

    it('forgets after the list of a namespace nothing of another', () => {
      const elsewhere = cache.credentialSink('elsewhere');
      credentials.present(aCredential('a'));
      elsewhere.listStarted();
      elsewhere.present(aCredential('b', { namespace: 'elsewhere' }));
      elsewhere.listEnded();
      elsewhere.listStarted();
      elsewhere.listEnded();
      expect([...cache.credentials()]).toEqual([aCredential('a')]);
    });
  });

  describe('of Secrets', () => {
    beforeEach(() => {
      credentials.present(aCredential('a', { source: 's', target: 't' }));
      credentials.present(aCredential('b', { source: 's', target: 'u' }));
      wakeUps();
    });

    it('knows nothing before the first list has ended', () => {
      expect(cache.secret('shop', 's')).toBe('unknown');
      secrets.listStarted();
      expect(cache.secret('shop', 's')).toBe('unknown');
      expect(cache.secret('shop', 'other')).toBe('unknown');
    });

    it('knows after it what is there and what is not', () => {
      list(aSecret('s'), aSecret('other'));
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      expect(cache.secret('shop', 't')).toBe('absent');
      expect(cache.secret('shop', 'other')).toBe('unknown');
      expect(cache.secret('shop', 'never')).toBe('absent');
      expect(wakeUps()).toEqual(['shop/a', 'shop/a', 'shop/b', 'shop/b']);
    });

    it('wakes all who refer to a Secret that changes, comes or goes', () => {
      list(aSecret('s'));
      wakeUps();
      secrets.present(aSecret('s', '2'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      secrets.deleted(aSecret('s', '3'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.secret('shop', 's')).toBe('absent');
      secrets.deleted(aSecret('s', '3'));
      expect(wakeUps()).toEqual([]);
      secrets.present(aSecret('t', '4'));
      expect(wakeUps()).toEqual(['shop/a']);
      secrets.present(aSecret('other', '5'));
      expect(wakeUps()).toEqual([]);
    });

    it('is not news when a write of ours comes back, nor when something older does', () => {
      list();
      wakeUps();
      cache.learn('shop', 't', meta('100'), 'written');
      expect(cache.secret('shop', 't')).toEqual(meta('100'));
      secrets.present(aSecret('t', '99'));
      secrets.present(aSecret('t', '100'));
      expect(wakeUps()).toEqual([]);
      expect(cache.secret('shop', 't')).toEqual(meta('100'));
      secrets.present(aSecret('t', '101'));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('tells of our write those who read the target as their source', () => {
      credentials.present(aCredential('c', { source: 't' }));
      list();
      wakeUps();
      cache.learn('shop', 't', meta('2'), 'written');
      expect(wakeUps()).toEqual(['shop/c']);
    });

    it('tells the others what a request has shown before the watch did', () => {
      list(aSecret('s'));
      wakeUps();
      cache.learn('shop', 's', meta('2'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      secrets.present(aSecret('s', '2'));
      expect(wakeUps()).toEqual([]);
      cache.learn('shop', 's', 'absent');
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.secret('shop', 's')).toBe('absent');
    });

    it('wakes nobody for the answer about what nobody knew', () => {
      cache.learn('shop', 's', meta('1'));
      cache.learn('shop', 't', 'absent');
      expect(wakeUps()).toEqual([]);
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      expect(cache.secret('shop', 't')).toBe('absent');
    });

    it('takes another Secret of that name as it comes', () => {
      list(aSecret('t', '50'));
      cache.learn('shop', 't', meta('60', 'new'), 'written');
      wakeUps();
      secrets.deleted(aSecret('t', '55'));
      expect(cache.secret('shop', 't')).toEqual(meta('60', 'new'));
      expect(wakeUps()).toEqual([]);
    });

    it('compares versions as numbers, and unreadable ones only for equality', () => {
      list(aSecret('t', '9'));
      secrets.present(aSecret('t', '10'));
      expect(cache.secret('shop', 't')).toEqual(meta('10'));
      secrets.present(aSecret('t', '9'));
      expect(cache.secret('shop', 't')).toEqual(meta('10'));
      secrets.present(aSecret('t', 'x'));
      expect(cache.secret('shop', 't')).toEqual(meta('x'));
    });

    it('finds by a list what has changed and gone meanwhile', () => {
      list(aSecret('s'), aSecret('t'), aSecret('u'));
      wakeUps();
      list(aSecret('s', '2'), aSecret('u'));
      expect(cache.secret('shop', 't')).toBe('absent');
      expect(cache.secret('shop', 'u')).toEqual(meta('1'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/a', 'shop/b']);
    });

    it('does not lose in a list what a request has shown since that began', () => {
      list();
      wakeUps();
      secrets.listStarted();
      cache.learn('shop', 't', meta('5'), 'written');
      secrets.listEnded();
      expect(cache.secret('shop', 't')).toEqual(meta('5'));
      expect(wakeUps()).toEqual([]);
    });

    it('knows as unknown what is named in the middle of a list that has shown it', () => {
      list();
      secrets.listStarted();
      secrets.present(aSecret('late'));
      credentials.present(aCredential('c', { source: 'late', target: 'none' }));
      secrets.listEnded();
      expect(cache.secret('shop', 'late')).toBe('unknown');
      expect(cache.secret('shop', 'none')).toBe('absent');
    });

    it('keeps a Secret as long as anybody names it', () => {
      list(aSecret('s'));
      credentials.deleted(aCredential('a'));
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      credentials.deleted(aCredential('b'));
      expect(cache.secret('shop', 's')).toBe('unknown');
      expect(cache.secret('shop', 't')).toBe('absent');
    });

    it('knows as absent what has gone while somebody named it', () => {
      list(aSecret('s'));
      secrets.deleted(aSecret('s'));
      credentials.deleted(aCredential('a'));
      credentials.deleted(aCredential('b'));
      expect(cache.secret('shop', 's')).toBe('absent');
      secrets.present(aSecret('s'));
      expect(cache.secret('shop', 's')).toBe('unknown');
    });

    it.each([
      ['its credential', { controllerUid: 'uid-a', credentialName: 'a' }],
      ['an earlier credential of that name', { controllerUid: 'uid-z', credentialName: 'a' }],
      ['an unknown credential', { controllerUid: 'uid-z', credentialName: 'z' }],
      ['nobody, for it was retained', { credentialName: 'a' }],
    ])('keeps the metadata of a target of %s as it is', (_, labels) => {
      const target = { ...meta('1'), ...labels };
      secrets.present({ namespace: 'shop', name: 't', meta: target });
      expect(cache.secret('shop', 't')).toStrictEqual(target);
    });

    it('keeps lists of namespaces apart', () => {
      const elsewhere = cache.secretSink('elsewhere');
      const shop = cache.secretSink('shop');
      shop.listStarted();
      shop.present(aSecret('s'));
      shop.listEnded();
      elsewhere.listStarted();
      elsewhere.listEnded();
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      expect(cache.secret('elsewhere', 's')).toBe('absent');
      expect(cache.secret('nowhere', 's')).toBe('unknown');
    });
  });

  describe('of sessions', () => {
    const session = (resourceVersion = '1', credentialName = 'a'): WatchedSecret => ({
      namespace: 'shop',
      name: 'a-session',
      meta: { uid: 'u', resourceVersion, credentialName, isSession: true },
    });
    const withPassword = (): ConvercusCredential => {
      const credential = aCredential('a');
      return { ...credential, spec: { ...credential.spec, grantType: 'password' } };
    };

    it('wakes a credential that is gone, so that its session is ended', () => {
      secrets.present(session());
      expect(wakeUps()).toEqual(['shop/a']);
      expect(cache.hasSession('shop/a')).toBe(true);
      expect([...cache.keys()]).toEqual(['shop/a']);
    });

    it('wakes nobody again while it changes: a credential of another release uses it', () => {
      secrets.present(session());
      wakeUps();
      secrets.present(session('2'));
      list(session('3'));
      expect(wakeUps()).toEqual([]);
      secrets.deleted(session('3'));
      secrets.present(session('4'));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('wakes nobody beside a credential that uses it', () => {
      credentials.present(withPassword());
      list(session());
      wakeUps();
      cache.learn('shop', 'a-session', session('2').meta, 'written');
      secrets.present(session('2'));
      expect(wakeUps()).toEqual([]);
      expect(cache.secret('shop', 'a-session')).toEqual(session('2').meta);
    });

    it('wakes its credential when somebody else has changed or deleted it', () => {
      credentials.present(withPassword());
      list(session());
      wakeUps();
      secrets.present(session('3'));
      secrets.deleted(session('3'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/a']);
      expect(cache.hasSession('shop/a')).toBe(false);
    });

    it('wakes a credential that has another grant by now', () => {
      credentials.present(aCredential('a'));
      wakeUps();
      secrets.present(session());
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('is forgotten with its Secret, also when a list or a request shows that', () => {
      list(session());
      list();
      expect(cache.hasSession('shop/a')).toBe(false);
      list(session());
      cache.learn('shop', 'a-session', 'absent');
      expect(cache.hasSession('shop/a')).toBe(false);
    });

    it('does not count under the name of another credential, or without our labels', () => {
      secrets.present(session('1', 'b'));
      secrets.present({ ...session(), meta: meta('2') });
      expect(cache.hasSession('shop/a')).toBe(false);
      expect(cache.hasSession('shop/b')).toBe(false);
      expect(wakeUps()).toEqual([]);
    });
  });
});
