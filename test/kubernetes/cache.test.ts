import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import type { SecretMeta } from '../../src/credential/secret.ts';
import type { Status } from '../../src/credential/status.ts';
import { ClusterCache } from '../../src/kubernetes/cache.ts';
import type { WatchedSecret } from '../../src/kubernetes/objects.ts';
import { aCredential } from '../support/builders.ts';

interface TokenDemand {
  namespace?: string;
  source?: string;
  target?: string;
  metadata?: Partial<ConvercusCredential['metadata']>;
  status?: ConvercusCredential['status'];
}

/** A credential as the watch shows it. */
function shown(name: string, demand: TokenDemand = {}): ConvercusCredential {
  const { namespace = 'shop', source = 'source', target, metadata, status } = demand;
  return aCredential({
    metadata: { name, namespace, resourceVersion: '1', ...metadata },
    spec: { credentialsSecretRef: { name: source } },
    target: target === undefined ? {} : { name: target },
    status,
  });
}

const meta = (resourceVersion: string, uid = 'u'): SecretMeta => ({ uid, resourceVersion });

const aSecret = (name: string, resourceVersion = '1', uid = 'u'): WatchedSecret => ({
  namespace: 'shop',
  name,
  meta: meta(resourceVersion, uid),
});

const TOKEN_ANNOTATIONS = {
  issuedAt: 0,
  expiresAt: 300_000,
  renewAt: 240_000,
  specHash: 's',
  sourceVersion: 'u/1',
  contentHash: 'c',
};

describe('the cache of the cluster', () => {
  let woken: string[];
  let cache: ClusterCache;
  let credentials: ReturnType<ClusterCache['credentialHandler']>;
  let secrets: ReturnType<ClusterCache['secretHandler']>;

  /** Who has been woken since the last time. */
  const wakeUps = (): string[] => woken.splice(0).sort();

  /** The version of the latest list. */
  let version: number;

  const list = (...items: WatchedSecret[]): void => {
    version = Math.max(version + 1, ...items.map((item) => Number(item.meta.resourceVersion)));
    secrets.init(String(version), false);
    for (const item of items) secrets.apply(item);
    secrets.initDone();
  };

  /** The answer to a read that was sent before anything else happened since. */
  const read = (name: string, response: SecretMeta | 'absent') =>
    cache.learnRead({ namespace: 'shop', name }, response, cache.changes);

  const write = (name: string, written: SecretMeta) =>
    cache.learnWritten({ namespace: 'shop', name, meta: written }, cache.changes);

  beforeEach(() => {
    woken = [];
    version = 0;
    cache = new ClusterCache((keys) => woken.push(...keys));
    credentials = cache.credentialHandler();
    secrets = cache.secretHandler();
  });

  describe('of credentials with one target', () => {
    beforeEach(() => {
      credentials.apply(shown('a', { target: 's' }));
      credentials.apply(shown('b', { target: 's' }));
      wakeUps();
    });

    it('enqueues the others when one has another target', () => {
      credentials.apply(shown('a', { target: 't', metadata: { generation: 2 } }));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
    });

    it('enqueues none of the others for an edit that changes no claim', () => {
      credentials.apply(shown('a', { target: 's', source: 'other', metadata: { generation: 2 } }));
      expect(wakeUps()).toEqual(['shop/a']);
    });
  });

  describe('of what a credential has left in a Secret', () => {
    const left = (change: Partial<SecretMeta>): SecretMeta => ({ ...meta('9'), ...change });

    it.each([
      ['a former target', left({ credentialName: 'a', controllerUid: 'uid-of-a' })],
      ['merged keys', left({ mergedBy: ['a'] })],
    ])('enqueues it when a read shows %s before the watch does', (_, found) => {
      credentials.apply(shown('a'));
      credentials.apply(shown('b', { target: 's' }));
      list();
      wakeUps();
      read('s', found);
      expect(wakeUps()).toContain('shop/a');
      secrets.apply({ namespace: 'shop', name: 's', meta: found });
      expect(wakeUps()).toEqual([]);
    });

    it('enqueues it when the watch shows it', () => {
      credentials.apply(shown('a'));
      list();
      wakeUps();
      secrets.apply({
        namespace: 'shop',
        name: 's',
        meta: left({ credentialName: 'a', controllerUid: 'uid-of-a' }),
      });
      expect(wakeUps()).toEqual(['shop/a']);
      expect(cache.formerTargets('shop/a')).toEqual(['s']);
    });
  });

  describe('of credentials', () => {
    it('knows those that are there', () => {
      const credential = shown('a');
      credentials.apply(credential);
      expect(cache.credential('shop/a')).toEqual(credential);
      expect([...cache.credentials()]).toEqual([credential]);
      expect([...cache.credentials()]).toHaveLength(1);
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('enqueues nothing for a status, but keeps it', () => {
      credentials.apply(shown('a'));
      wakeUps();
      credentials.apply(shown('a', { status: { observedGeneration: 1 } }));
      expect(wakeUps()).toEqual([]);
      expect(cache.credential('shop/a')?.status).toEqual({ observedGeneration: 1 });
    });

    it('forgets a status that is gone', () => {
      credentials.apply(shown('a', { status: { observedGeneration: 1 } }));
      credentials.apply(shown('a'));
      expect(cache.credential('shop/a')).toEqual(shown('a'));
    });

    it.each<[string, object]>([
      ['a new spec', { generation: 2 }],
      ['a request to renew', { annotations: { 'convercus.io/renew-requested-at': 'now' } }],
      ['a deletion that waits', { deletionTimestamp: '2026-11-24T00:00:00Z' }],
      ['another one of that name', { uid: 'another' }],
    ])('wakes for %s', (_, metadata) => {
      credentials.apply(shown('a'));
      wakeUps();
      credentials.apply(shown('a', { metadata }));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('wakes for another spec of the same generation, from an etcd that was restored', () => {
      credentials.apply(shown('a'));
      wakeUps();
      const { spec, ...rest } = shown('a');
      credentials.apply({ ...rest, spec: { ...spec, suspend: true } });
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('wakes a deleted one and those who claim the same target', () => {
      credentials.apply(shown('a', { target: 't' }));
      credentials.apply(shown('b', { target: 't' }));
      credentials.apply(shown('c'));
      wakeUps();
      credentials.delete(shown('a', { target: 't' }));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.credentialsWithTarget('shop', 't').map(({ metadata }) => metadata.name)).toEqual(
        ['b'],
      );
      credentials.delete(shown('a', { target: 't' }));
      expect(wakeUps()).toEqual([]);
    });

    it('wakes the other claimants when one moves to another target', () => {
      credentials.apply(shown('a', { target: 't' }));
      credentials.apply(shown('b', { target: 't' }));
      wakeUps();
      credentials.apply(shown('a', { target: 'u', metadata: { generation: 2 } }));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.credentialsWithTarget('shop', 'u')).toHaveLength(1);
    });

    it('counts as claimants of a Secret only those that have it as their target', () => {
      credentials.apply(shown('a', { target: 't' }));
      credentials.apply(shown('b', { source: 't' }));
      credentials.apply(shown('c', { target: 't', namespace: 'elsewhere' }));
      expect(cache.credentialsWithTarget('shop', 't').map(({ metadata }) => metadata.name)).toEqual(
        ['a'],
      );
      expect(cache.credentialsWithTarget('shop', 'b-token')).toHaveLength(1);
      expect(cache.credentialsWithTarget('shop', 'unknown')).toEqual([]);
    });

    it('forgets after a list what it did not show', () => {
      credentials.init('1', false);
      credentials.apply(shown('a'));
      credentials.apply(shown('b'));
      credentials.initDone();
      wakeUps();
      credentials.init('2', false);
      credentials.apply(shown('b'));
      credentials.initDone();
      expect(wakeUps()).toEqual(['shop/a']);
      expect([...cache.credentials()]).toHaveLength(1);
    });

    it('forgets after the list of a namespace nothing of another', () => {
      const elsewhere = cache.credentialHandler('elsewhere');
      credentials.apply(shown('a'));
      elsewhere.init('1', false);
      elsewhere.apply(shown('b', { namespace: 'elsewhere' }));
      elsewhere.initDone();
      elsewhere.init('2', false);
      elsewhere.initDone();
      expect([...cache.credentials()]).toEqual([shown('a')]);
    });
  });

  describe('of credentials whose versions are known', () => {
    const before = { observedGeneration: 1 };
    const written = { observedGeneration: 2 };
    const at = (resourceVersion: string, demand: TokenDemand = {}): ConvercusCredential =>
      shown('a', { ...demand, metadata: { resourceVersion, ...demand.metadata } });

    /** Version 10: our own write of the status of version 9. */
    function writeStatus(): void {
      credentials.apply(at('9', { status: before }));
      const known = cache.credential('shop/a');
      if (known === undefined) throw new Error('no credential');
      cache.learnStatus(known, written, '10');
      wakeUps();
    }

    it('keeps a status that we have written when a watch or a list shows an earlier version', () => {
      writeStatus();
      credentials.apply(at('9', { status: before }));
      expect(cache.credential('shop/a')).toEqual(at('10', { status: written }));
      credentials.init('9', false);
      credentials.apply(at('9', { status: before }));
      credentials.initDone();
      expect(cache.credential('shop/a')).toEqual(at('10', { status: written }));
      expect(wakeUps()).toEqual([]);
    });

    it('takes what comes later', () => {
      writeStatus();
      credentials.apply(at('11', { status: before, metadata: { generation: 2 } }));
      expect(cache.credential('shop/a')?.status).toEqual(before);
      expect(wakeUps()).toEqual(['shop/a']);
      credentials.apply(at('12', { metadata: { uid: 'another' } }));
      credentials.delete(at('11'));
      expect(cache.credential('shop/a')?.metadata.uid).toBe('another');
    });

    it('wakes one whose status another has taken away, once, and none whose status comes from us', () => {
      const ours: Status = {
        observedGeneration: 1,
        conditions: [
          {
            type: 'Ready',
            status: 'False',
            reason: 'InvalidSpec',
            message: 'm',
            lastTransitionTime: '2026-11-24T00:00:00Z',
          },
        ],
      };
      const generation = { generation: 1 };
      credentials.apply(at('9', { metadata: generation }));
      wakeUps();
      credentials.apply(at('10', { status: ours, metadata: generation }));
      expect(wakeUps()).toEqual([]);
      for (const status of [{}, { ...ours, observedGeneration: 7 }]) {
        credentials.apply(at('11', { status: ours, metadata: generation }));
        credentials.apply(at('12', { status, metadata: generation }));
        expect(wakeUps()).toEqual(['shop/a']);
        credentials.apply(at('13', { status, metadata: generation }));
        credentials.apply(at('14', { status: ours, metadata: generation }));
        expect(wakeUps()).toEqual([]);
        credentials.delete(at('15', { metadata: generation }));
        credentials.apply(at('8', { metadata: generation }));
        wakeUps();
      }
    });

    it('lets go of one that the watch does not select any more, though its status was written since', () => {
      writeStatus();
      credentials.delete(at('9'));
      expect(cache.credential('shop/a')).toBeUndefined();
    });

    it('begins again, and wakes all, when versions do', () => {
      writeStatus();
      credentials.apply(shown('b', { metadata: { resourceVersion: '8' } }));
      wakeUps();
      credentials.init('5', true);
      credentials.apply(at('4', { status: before }));
      credentials.initDone();
      expect([...cache.credentials()]).toEqual([at('4', { status: before })]);
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
    });

    it('believes a later list that shows an earlier version: the history was rewritten', () => {
      credentials.apply(at('9', { metadata: { generation: 3 } }));
      wakeUps();
      credentials.init('1000000000', false);
      credentials.apply(at('8', { metadata: { generation: 2 } }));
      credentials.initDone();
      expect(cache.credential('shop/a')?.metadata.generation).toBe(2);
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('wakes one whose status alone has gone back with a restore that raised versions', () => {
      writeStatus();
      credentials.init('1000000000', false);
      credentials.apply(at('9', { status: before }));
      credentials.initDone();
      expect(cache.credential('shop/a')?.status).toEqual(before);
      expect(wakeUps()).toEqual(['shop/a']);
    });
  });

  describe('of Secrets', () => {
    beforeEach(() => {
      credentials.apply(shown('a', { source: 's', target: 't' }));
      credentials.apply(shown('b', { source: 's', target: 'u' }));
      wakeUps();
    });

    it('knows nothing before the first list has ended', () => {
      expect(cache.secret('shop', 's')).toBe('unknown');
      secrets.init('2', false);
      expect(cache.secret('shop', 's')).toBe('unknown');
      expect(cache.secret('shop', 'other')).toBe('unknown');
    });

    it('knows after it what is there and what is not', () => {
      list(aSecret('s'), aSecret('other'));
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      expect(cache.secret('shop', 't')).toBe('absent');
      expect(cache.secret('shop', 'other')).toBe('unknown');
      expect(wakeUps()).toEqual(['shop/a', 'shop/a', 'shop/b', 'shop/b']);
    });

    it('wakes all who refer to a Secret that changes, comes or goes', () => {
      list(aSecret('s'));
      wakeUps();
      secrets.apply(aSecret('s', '2'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      secrets.delete(aSecret('s', '3'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.secret('shop', 's')).toBe('absent');
      secrets.delete(aSecret('s', '3'));
      expect(wakeUps()).toEqual([]);
      secrets.apply(aSecret('t', '4'));
      expect(wakeUps()).toEqual(['shop/a']);
      secrets.apply(aSecret('other', '5'));
      expect(wakeUps()).toEqual([]);
    });

    it('is not news when a write of ours comes back, nor when something older does', () => {
      list();
      wakeUps();
      write('t', meta('100'));
      expect(cache.secret('shop', 't')).toEqual(meta('100'));
      secrets.apply(aSecret('t', '99'));
      secrets.apply(aSecret('t', '100'));
      expect(wakeUps()).toEqual([]);
      expect(cache.secret('shop', 't')).toEqual(meta('100'));
      secrets.apply(aSecret('t', '101'));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('tells of our write those who read the target as their source', () => {
      credentials.apply(shown('c', { source: 't' }));
      list();
      wakeUps();
      write('t', meta('2'));
      expect(wakeUps()).toEqual(['shop/c']);
    });

    it('tells the others what a request has shown before the watch did', () => {
      list(aSecret('s'));
      wakeUps();
      read('s', meta('2'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      secrets.apply(aSecret('s', '2'));
      expect(wakeUps()).toEqual([]);
      read('s', 'absent');
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.secret('shop', 's')).toBe('absent');
    });

    it('enqueues nothing for the response about what was unknown', () => {
      read('s', meta('1'));
      read('t', 'absent');
      expect(wakeUps()).toEqual([]);
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      expect(cache.secret('shop', 't')).toBe('absent');
    });

    it('takes another Secret of that name as it comes', () => {
      list(aSecret('t', '50'));
      write('t', meta('60', 'new'));
      wakeUps();
      secrets.delete(aSecret('t', '55'));
      expect(cache.secret('shop', 't')).toEqual(meta('60', 'new'));
      expect(wakeUps()).toEqual([]);
    });

    it('compares versions as numbers, and unreadable ones only for equality', () => {
      list(aSecret('t', '9'));
      secrets.apply(aSecret('t', '10'));
      expect(cache.secret('shop', 't')).toEqual(meta('10'));
      secrets.apply(aSecret('t', '9'));
      expect(cache.secret('shop', 't')).toEqual(meta('10'));
      secrets.apply(aSecret('t', 'x'));
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
      secrets.init('4', false);
      write('t', meta('5'));
      secrets.initDone();
      expect(cache.secret('shop', 't')).toEqual(meta('5'));
      expect(wakeUps()).toEqual([]);
    });

    it('begins again, and wakes all, when versions do', () => {
      list(aSecret('s', '50'), aSecret('other', '51'));
      write('t', meta('60'));
      wakeUps();
      secrets.init('30', true);
      expect(cache.secret('shop', 's')).toBe('unknown');
      expect(cache.secret('shop', 'other')).toBe('unknown');
      secrets.apply(aSecret('s', '20'));
      secrets.initDone();
      expect(cache.secret('shop', 's')).toEqual(meta('20'));
      expect(cache.secret('shop', 't')).toBe('absent');
      expect(new Set(wakeUps())).toEqual(new Set(['shop/a', 'shop/b']));
      secrets.apply(aSecret('t', '31'));
      expect(cache.secret('shop', 't')).toEqual(meta('31'));
    });

    it('believes a later list that shows an earlier version: the history was rewritten', () => {
      list(aSecret('s', '50'));
      secrets.init('1000000000', false);
      secrets.apply(aSecret('s', '20'));
      secrets.initDone();
      expect(cache.secret('shop', 's')).toEqual(meta('20'));
    });

    it('knows nothing of what is named in the middle of a list, which may have shown it before', () => {
      list();
      secrets.init('4', false);
      secrets.apply(aSecret('late'));
      credentials.apply(shown('c', { source: 'late', target: 'none' }));
      credentials.apply(shown('d', { source: 'read', target: 'shown' }));
      read('read', meta('3'));
      secrets.apply(aSecret('shown', '2'));
      secrets.initDone();
      expect(cache.secret('shop', 'late')).toBe('unknown');
      expect(cache.secret('shop', 'none')).toBe('unknown');
      expect(cache.secret('shop', 'read')).toEqual(meta('3'));
      expect(cache.secret('shop', 'shown')).toEqual(meta('2'));
      list(aSecret('late'));
      expect(cache.secret('shop', 'late')).toEqual(meta('1'));
      expect(cache.secret('shop', 'none')).toBe('absent');
    });

    it('knows nothing of a Secret that is named later, until it is read, shown or written', () => {
      list(aSecret('late'));
      credentials.apply(shown('c', { source: 'late', target: 'none' }));
      expect(cache.secret('shop', 'late')).toBe('unknown');
      expect(cache.secret('shop', 'none')).toBe('unknown');
      wakeUps();
      read('late', meta('1'));
      write('none', meta('9'));
      expect(cache.secret('shop', 'late')).toEqual(meta('1'));
      expect(cache.secret('shop', 'none')).toEqual(meta('9'));
      expect(wakeUps()).toEqual([]);
    });

    it.each<[string, Partial<SecretMeta>]>([
      ['labels', { credentialName: 'c' }],
      ['token annotations', { tokenAnnotations: TOKEN_ANNOTATIONS }],
    ])('keeps a Secret with our %s, which may outlive its credential', (_, ours) => {
      const target = (resourceVersion: string): WatchedSecret => ({
        ...aSecret('left'),
        meta: { ...meta(resourceVersion), ...ours },
      });
      secrets.apply(target('2'));
      list(aSecret('other'), target('3'));
      credentials.apply(shown('c', { source: 'other', target: 'left' }));
      expect(cache.secret('shop', 'other')).toBe('unknown');
      expect(cache.secret('shop', 'left')).toEqual(target('3').meta);
      credentials.delete(shown('c'));
      secrets.apply(target('9'));
      expect(cache.secret('shop', 'left')).toEqual(target('9').meta);
      secrets.delete(target('10'));
      expect(cache.secret('shop', 'left')).toBe('unknown');
    });

    it('keeps a Secret as long as anybody names it', () => {
      list(aSecret('s'));
      credentials.delete(shown('a'));
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      credentials.delete(shown('b'));
      expect(cache.secret('shop', 's')).toBe('unknown');
    });

    it.each([
      ['its credential', { controllerUid: 'uid-a', credentialName: 'a' }],
      ['an earlier credential of that name', { controllerUid: 'uid-z', credentialName: 'a' }],
      ['an unknown credential', { controllerUid: 'uid-z', credentialName: 'z' }],
      ['no credential, for it was retained', { credentialName: 'a' }],
    ])('keeps the metadata of a target of %s as it is', (_, labels) => {
      const target = { ...meta('1'), ...labels };
      secrets.apply({ namespace: 'shop', name: 't', meta: target });
      expect(cache.secret('shop', 't')).toStrictEqual(target);
    });

    it('keeps lists of namespaces apart', () => {
      credentials.apply(shown('c', { namespace: 'elsewhere', source: 's', target: 't' }));
      credentials.apply(shown('d', { namespace: 'nowhere', source: 's', target: 't' }));
      const elsewhere = cache.secretHandler('elsewhere');
      const shop = cache.secretHandler('shop');
      shop.init('1', false);
      shop.apply(aSecret('s'));
      shop.initDone();
      elsewhere.init('1', false);
      elsewhere.initDone();
      expect(cache.secret('shop', 's')).toEqual(meta('1'));
      expect(cache.secret('elsewhere', 's')).toBe('absent');
      expect(cache.secret('nowhere', 's')).toBe('unknown');
    });
  });

  it('wakes a credential that waits for the name of a Secret that the operator has deleted', () => {
    credentials.apply(shown('waiting', { target: 'taken' }));
    list(aSecret('taken', '1', 'first'));
    wakeUps();
    cache.learnGone({ namespace: 'shop', name: 'taken', uid: 'first' });
    secrets.delete(aSecret('taken', '2', 'first'));
    expect(wakeUps()).toEqual(['shop/waiting']);
  });

  describe('of sessions', () => {
    const session = (resourceVersion = '1', credentialName = 'a'): WatchedSecret => ({
      namespace: 'shop',
      name: 'a-session',
      meta: { uid: 'u', resourceVersion, credentialName, isSession: true },
    });
    const withPassword = (): ConvercusCredential => {
      const credential = shown('a');
      return { ...credential, spec: { ...credential.spec, grantType: 'password' } };
    };

    it('wakes a credential that is gone, so that its session is ended', () => {
      secrets.apply(session());
      expect(wakeUps()).toEqual(['shop/a']);
      expect(cache.hasSession('shop/a')).toBe(true);
      expect([...cache.keys()]).toEqual(['shop/a']);
    });

    it('enqueues nothing again while it changes: a credential of another release uses it', () => {
      secrets.apply(session());
      wakeUps();
      secrets.apply(session('2'));
      list(session('3'));
      expect(wakeUps()).toEqual([]);
      secrets.delete(session('3'));
      secrets.apply(session('4'));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('enqueues nothing but a credential that uses it', () => {
      credentials.apply(withPassword());
      list(session());
      wakeUps();
      write('a-session', session('2').meta);
      secrets.apply(session('2'));
      expect(wakeUps()).toEqual([]);
      expect(cache.secret('shop', 'a-session')).toEqual(session('2').meta);
    });

    it('enqueues its credential when another client has changed or deleted it', () => {
      credentials.apply(withPassword());
      list(session());
      wakeUps();
      secrets.apply(session('3'));
      secrets.delete(session('3'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/a']);
      expect(cache.hasSession('shop/a')).toBe(false);
    });

    it('wakes a credential that has another grant by now', () => {
      credentials.apply(shown('a'));
      wakeUps();
      secrets.apply(session());
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('is forgotten with its Secret, also when a list or a request shows that', () => {
      list(session());
      list();
      expect(cache.hasSession('shop/a')).toBe(false);
      credentials.apply(withPassword());
      list(session());
      read('a-session', 'absent');
      expect(cache.hasSession('shop/a')).toBe(false);
    });

    it('is another one when its Secret was deleted and made again', () => {
      credentials.apply(withPassword());
      list();
      const made = (resourceVersion: string, uid: string): SecretMeta => ({
        ...session(resourceVersion).meta,
        uid,
      });
      write('a-session', made('10', 'first'));
      cache.learnGone({ namespace: 'shop', name: 'a-session', uid: 'first' });
      expect(cache.hasSession('shop/a')).toBe(false);
      write('a-session', made('12', 'second'));
      // The watch was cut. What it shows of the second is passed over as our own write
      secrets.apply({ ...session(), meta: made('10', 'first') });
      secrets.delete({ ...session(), meta: made('11', 'first') });
      expect(cache.secret('shop', 'a-session')).toEqual(made('12', 'second'));
      expect(cache.hasSession('shop/a')).toBe(true);
      secrets.delete({ ...session(), meta: made('13', 'second') });
      expect(cache.hasSession('shop/a')).toBe(false);
    });

    it('is known to a credential that names it later', () => {
      list(session('3'));
      secrets.apply(session('4'));
      credentials.apply(withPassword());
      expect(cache.secret('shop', 'a-session')).toEqual(session('4').meta);
      credentials.delete(withPassword());
      expect(cache.secret('shop', 'a-session')).toEqual(session('4').meta);
      expect([...cache.keys('shop')]).toEqual(['shop/a']);
      secrets.apply({ ...session(), meta: meta('5') });
      expect(cache.secret('shop', 'a-session')).toBe('unknown');
    });

    it('does not count under the name of another credential, or without our labels', () => {
      secrets.apply(session('1', 'b'));
      secrets.apply({ ...session(), meta: meta('2') });
      expect(cache.hasSession('shop/a')).toBe(false);
      expect(cache.hasSession('shop/b')).toBe(false);
      expect(wakeUps()).toEqual([]);
    });
  });

  describe('of Secrets that credentials have merged into', () => {
    const merged = (resourceVersion = '1', ...mergedBy: string[]): WatchedSecret => ({
      namespace: 'shop',
      name: 'app',
      meta: { uid: 'u', resourceVersion, ...(mergedBy.length > 0 && { mergedBy }) },
    });

    it('wakes a credential that is gone, so that its keys are released', () => {
      secrets.apply(merged('1', 'a', 'b'));
      expect(wakeUps()).toEqual(['shop/a', 'shop/b']);
      expect(cache.mergedSecrets('shop/a')).toEqual(['app']);
      expect([...cache.keys()]).toEqual(['shop/a', 'shop/b']);
      expect([...cache.keys('elsewhere')]).toEqual([]);
    });

    it('enqueues nothing again while it changes, but who has merged since', () => {
      secrets.apply(merged('1', 'a'));
      wakeUps();
      secrets.apply(merged('2', 'a'));
      list(merged('3', 'a'));
      expect(wakeUps()).toEqual([]);
      secrets.apply(merged('4', 'a', 'b'));
      expect(wakeUps()).toEqual(['shop/b']);
    });

    it('knows of one from our own write, which enqueues nothing', () => {
      credentials.apply(shown('a', { target: 'app' }));
      list(aSecret('app'));
      wakeUps();
      write('app', merged('2', 'a').meta);
      secrets.apply(merged('2', 'a'));
      expect(wakeUps()).toEqual([]);
      expect(cache.mergedSecrets('shop/a')).toEqual(['app']);
      expect([...cache.keys()]).toEqual(['shop/a']);

      credentials.delete(shown('a', { target: 'app' }));
      expect(wakeUps()).toEqual(['shop/a']);
      expect(cache.secret('shop', 'app')).toEqual(merged('2', 'a').meta);
    });

    it('forgets it when it is released, deleted or not listed any more', () => {
      list(merged('1', 'a'));
      cache.learnWritten(merged('2'), cache.changes);
      expect(cache.mergedSecrets('shop/a')).toEqual([]);
      expect([...cache.keys()]).toEqual([]);

      secrets.apply(merged('3', 'a'));
      secrets.delete(merged('3', 'a'));
      expect(cache.mergedSecrets('shop/a')).toEqual([]);

      list(merged('5', 'a'));
      list();
      expect(cache.mergedSecrets('shop/a')).toEqual([]);
    });

    it('wakes it again when a late write brings its keys back', () => {
      list(merged('1', 'a'));
      cache.learnWritten(merged('2'), cache.changes);
      wakeUps();
      secrets.apply(merged('3', 'a'));
      expect(wakeUps()).toEqual(['shop/a']);
    });

    it('knows which Secrets of which namespace, whatever is shown in which order', () => {
      const aName = fc.constantFrom('a', 'b');
      const aChange = fc.record({
        namespace: fc.constantFrom('shop', 'elsewhere'),
        name: fc.constantFrom('app', 'other'),
        mergedBy: fc.option(fc.uniqueArray(aName), { nil: undefined }),
      });
      fc.assert(
        fc.property(fc.array(aChange), (changes) => {
          cache = new ClusterCache(() => undefined);
          const handler = cache.secretHandler();
          const model = new Map<string, readonly string[]>();
          for (const [index, { namespace, name, mergedBy }] of changes.entries()) {
            const resourceVersion = String(index + 1);
            const isAny = mergedBy !== undefined && mergedBy.length > 0;
            const meta = { uid: 'u', resourceVersion, ...(isAny && { mergedBy }) };
            if (mergedBy === undefined) handler.delete({ namespace, name, meta });
            else handler.apply({ namespace, name, meta });
            model.set(`${namespace}/${name}`, mergedBy ?? []);
          }
          for (const namespace of ['shop', 'elsewhere']) {
            for (const merger of ['a', 'b']) {
              const names = ['app', 'other'].filter((name) =>
                model.get(`${namespace}/${name}`)?.includes(merger),
              );
              expect([...cache.mergedSecrets(`${namespace}/${merger}`)].sort()).toEqual(names);
            }
          }
        }),
      );
    });
  });
});
