import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ClusterConvercusCredential } from '../../src/credential/cluster-api.ts';
import { ClusterCache } from '../../src/kubernetes/cache.ts';
import { ClusterCredentials } from '../../src/kubernetes/cluster-credentials.ts';
import type { Key } from '../../src/lib/key.ts';
import { aClusterCredential, SELECTED } from '../support/cluster-world.ts';

let enqueued: Key[];
let cache: ClusterCache;
let clusters: ClusterCredentials;

beforeEach(() => {
  enqueued = [];
  const enqueue = (keys: readonly Key[]): void => void enqueued.push(...keys);
  cache = new ClusterCache(enqueue, 'ops');
  clusters = new ClusterCredentials({ namespace: 'ops', instances: cache, enqueue });
});

const ALL = '/ClusterConvercusCredential/loyalty';
const IN_A = 'a/ClusterConvercusCredential/loyalty';
const IN_B = 'b/ClusterConvercusCredential/loyalty';
const namespace = (name: string, labels: Record<string, string> = SELECTED) => ({
  name,
  labels,
  isTerminating: false,
});
const keys = () => new Set(enqueued.splice(0));

function list(handlers: { isRestored?: boolean } & Lists): void {
  const { credentials, namespaces, isRestored = false } = handlers;
  if (credentials !== undefined) {
    const handler = clusters.credentialHandler();
    handler.init('1', isRestored);
    for (const each of credentials) handler.apply(each);
    handler.initDone();
  }
  if (namespaces !== undefined) {
    const handler = clusters.namespaceHandler();
    handler.init('1', isRestored);
    for (const each of namespaces) handler.apply(each);
    handler.initDone();
  }
}

interface Lists {
  readonly credentials?: readonly ClusterConvercusCredential[];
  readonly namespaces?: readonly ReturnType<typeof namespace>[];
}

describe('the cache of cluster credentials', () => {
  it('enqueues the target of a namespace that was left out while another release served it', () => {
    list({ credentials: [], namespaces: [namespace('a'), namespace('b', {})] });
    const meta = {
      uid: 'u',
      resourceVersion: '5',
      controllerUid: 'uid-of-cluster-loyalty',
      credentialName: 'ClusterConvercusCredential/loyalty',
    };
    cache.secretHandler().apply({ namespace: 'b', name: 'convercus-token', meta });
    enqueued.length = 0;
    clusters.credentialHandler().apply(aClusterCredential());
    expect(keys()).toEqual(new Set([IN_A, IN_B, ALL]));
  });

  it('makes no instance before both kinds were listed', () => {
    list({ credentials: [aClusterCredential()] });
    expect(clusters.credential('loyalty')).toBeUndefined();
    expect(cache.credential(IN_A)).toBeUndefined();
    enqueued.length = 0;
    list({ namespaces: [namespace('a'), namespace('b', {})] });
    expect(clusters.credential('loyalty')).toBeDefined();
    expect(keys()).toEqual(new Set([IN_A, ALL]));
    expect(clusters.instances('loyalty').map(({ metadata }) => metadata.namespace)).toEqual(['a']);
  });

  it('is not disturbed by a list of ConvercusCredentials, which instances are not in', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a')] });
    const handler = cache.credentialHandler();
    handler.init('5', true);
    handler.initDone();
    expect(cache.credential(IN_A)).toBeDefined();
  });

  it('forgets what a list does not show any more', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a'), namespace('b')] });
    keys();
    list({ namespaces: [namespace('b')] });
    expect(keys()).toEqual(new Set([IN_A, ALL]));
    list({ credentials: [] });
    expect(keys()).toEqual(new Set([IN_B, ALL]));
    expect([...clusters.keys()]).toEqual([]);
    expect([...cache.credentials()]).toEqual([]);
  });

  it('enqueues nothing for a label that selects nothing, or the same once more', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a')] });
    keys();
    list({ credentials: [aClusterCredential()] });
    list({ namespaces: [namespace('a', { ...SELECTED, other: 'label' })] });
    expect(keys()).toEqual(new Set());
  });

  it('compares a status that is shown with the instances, which may have changed since', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a')] });
    keys();
    const told = { status: { observedGeneration: 1, conditions: [] } };
    list({ credentials: [aClusterCredential(told)] });
    expect(keys()).toEqual(new Set([ALL]));
  });

  it('looks again at what a restored backup holds, though the generation is the same', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a')] });
    keys();
    const other = aClusterCredential({ target: { name: 'other' } });
    list({ credentials: [other], isRestored: true });
    expect(keys()).toEqual(new Set([IN_A, ALL]));
    expect(cache.credential(IN_A)?.spec.target.name).toBe('other');
  });

  it('keeps the status of an instance, but not for a credential of another uid', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a')] });
    const instance = cache.credential(IN_A);
    if (instance === undefined) throw new Error('no instance');
    const status = { observedGeneration: 1, tokenUrl: 'https://id.test' };
    expect(cache.learnInstanceStatus(instance, status)).toBe(true);
    list({ credentials: [aClusterCredential({ metadata: { generation: 2 } })] });
    expect(cache.credential(IN_A)?.status).toEqual(status);
    list({ credentials: [aClusterCredential({ metadata: { uid: 'another' } })] });
    expect(cache.credential(IN_A)?.status).toEqual({});
    expect(cache.learnInstanceStatus(instance, status)).toBe(false);
  });

  it('begins a term with what another leader has stored of them', () => {
    list({ credentials: [aClusterCredential()], namespaces: [namespace('a')] });
    const instance = cache.credential(IN_A);
    if (instance === undefined) throw new Error('no instance');
    cache.learnInstanceStatus(instance, { observedGeneration: 1, conditions: [] });
    const rejectedLogin = { presented: 'digest', at: '2026-09-21T12:00:00Z', count: 1 };
    const status = { observedGeneration: 1, lastHandledRenewRequest: 'now', rejectedLogin };
    list({ credentials: [aClusterCredential({ status })] });
    keys();
    clusters.beginTerm();
    expect(cache.credential(IN_A)?.status).toEqual({
      lastHandledRenewRequest: 'now',
      rejectedLogin,
    });
    expect(keys()).toEqual(new Set());
  });

  it('finds the targets that instances have left, and knows their sessions by the credential', () => {
    const meta = (more: object) => ({ uid: 'u', resourceVersion: '1', ...more });
    const secrets = cache.secretHandler();
    secrets.init('1', false);
    const credentialName = 'ClusterConvercusCredential/loyalty';
    const target = meta({ credentialName, controllerUid: 'uid-of-cluster-loyalty' });
    secrets.apply({ namespace: 'a', name: 'token', meta: target });
    const session = meta({ credentialName, isSession: true });
    secrets.apply({ namespace: 'ops', name: 'loyalty-cluster-session', meta: session });
    secrets.initDone();
    expect(new Set(cache.keys())).toEqual(new Set([IN_A, ALL]));
    expect(cache.hasSession(ALL)).toBe(true);
    expect(cache.hasSession('ops/ClusterConvercusCredential/loyalty')).toBe(false);
  });
});
