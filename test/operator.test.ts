import { getEventListeners } from 'node:events';
import { beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Config, parseConfig } from '../src/config.ts';
import { ClusterCredentials } from '../src/kubernetes/cluster-credentials.ts';
import type { LogFields } from '../src/lib/log.ts';
import { type Ms, minutes, seconds } from '../src/lib/time.ts';
import { runOperator } from '../src/operator.ts';
import { Readiness } from '../src/readiness.ts';
import { createMetrics, type Metrics } from '../src/telemetry/metrics.ts';
import { aCredential, CANARY } from './support/builders.ts';
import { FakeClock } from './support/fake-clock.ts';
import { ApiServer, CREDENTIALS_IN, TokenServers } from './support/operator-servers.ts';

/** Real turns of the event loop, for what passes through streams and compression. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe('the operator', () => {
  let clock: FakeClock;
  let api: ApiServer;
  let hosts: TokenServers;
  let stop: AbortController;
  let lines: string[];
  let fields: LogFields[];
  let audited: LogFields[];
  /** Requests that succeeded and connections that were closed, in their order. */
  let journal: string[];
  let readiness: Readiness;
  /** What ended it when it is neither of the two. */
  let ended: unknown;

  beforeEach(() => {
    clock = new FakeClock();
    journal = [];
    api = new ApiServer(journal);
    hosts = new TokenServers(clock, journal);
    stop = new AbortController();
    lines = [];
    fields = [];
    audited = [];
    readiness = new Readiness(clock);
    ended = 'running';
  });

  async function run(more: Partial<Metrics> = {}, settings = ''): Promise<void> {
    const note = (message: string, more: LogFields = {}): void => {
      lines.push(message);
      fields.push(more);
    };
    const noteAudit = (_: string, more: LogFields = {}) => void audited.push(more);
    const metrics = createMetrics({ version: '1', workers: 4, leaseName: 'lease', clock });
    const around = {
      config: configOf(settings),
      identity: 'me',
      userAgent: 'test',
      clock,
      random: () => 0.5,
      digestKey: 'key',
      restClient: api,
      client: hosts,
      log: { debug: note, info: note, warn: note, error: note },
      audit: { debug: noteAudit, info: noteAudit, warn: noteAudit, error: noteAudit },
      metrics: { ...metrics, ...more },
      readiness,
    };
    try {
      await runOperator(around, stop.signal);
      ended = 'stopped';
    } catch (error) {
      ended = error;
    }
  }

  async function passes(time: Ms): Promise<void> {
    const end = clock.monotonic() + time;
    while (clock.monotonic() < end) {
      await settle();
      await clock.advance(Math.min(100, end - clock.monotonic()));
    }
    await settle();
  }

  const listeners = (): number => getEventListeners(stop.signal, 'abort').length;

  const everything = () => ({
    timers: clock.timers,
    listeners: listeners(),
    requests: api.open,
    isClosed: [api.isClosed, hosts.isClosed],
  });
  const NOTHING_OPEN = { timers: 0, listeners: 0, requests: 0, isClosed: [true, true] };

  it('leaves nothing open after a stop, and gives the Lease back', async () => {
    void run();
    await passes(minutes(1));
    expect(api.written).toContain('/api/v1/namespaces/shop/secrets');
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: 'me' } });
    stop.abort();
    await settle();
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: '' } });
    expect(lines).toContain('Stopped');
  });

  it('lists credentials, then Secrets, before the first token request', async () => {
    void run();
    await passes(seconds(5));
    const withoutLease = journal.filter((line) => !line.includes('leases'));
    expect(withoutLease).toEqual([
      'read convercuscredentials',
      'read secrets',
      'read secrets',
      'token request',
      'write secrets',
      'write convercuscredentials status',
      'write events',
    ]);
    expect(journal.indexOf('write leases of me')).toBeLessThan(journal.indexOf('token request'));
  });

  it('gives the Lease back after its last write, and then closes its connections', async () => {
    hosts.takes = seconds(5);
    void run();
    await passes(seconds(1));
    stop.abort();
    await passes(seconds(5));
    expect(journal.slice(journal.indexOf('write secrets'))).toEqual([
      'write secrets',
      'write convercuscredentials status',
      'write events',
      'write leases',
      'close the token hosts',
      'close the API server',
    ]);
  });

  it('is ready when credentials and Secrets are listed and the Lease was reached', async () => {
    api.isFrozen = true;
    void run();
    await passes(seconds(1));
    expect([...readiness.results.keys()]).toEqual(['credentials', 'secrets', 'lease', 'writes']);
    expect([...readiness.results.values()].filter((it) => it === true)).toHaveLength(1);
    api.isFrozen = false;
    await passes(minutes(2));
    expect([...readiness.results]).toEqual([
      ['credentials', true],
      ['secrets', true],
      ['lease', true],
      ['writes', true],
    ]);
  });

  it('is not ready when nothing could be written for 5 minutes, but for a Lease', async () => {
    const status = `${CREDENTIALS_IN}/shop/convercuscredentials/loyalty/status`;
    api.forbidden.add('/api/v1/namespaces/shop/secrets').add(status);
    void run();
    await passes(seconds(10));
    const message = expect.stringMatching(/not allowed to (create|update|patch) /);
    expect(readiness.results.get('writes')).toEqual({ degraded: message });
    await passes(minutes(5));
    expect(readiness.results.get('writes')).toEqual(message);
    api.forbidden.clear();
    await passes(minutes(16));
    expect(readiness.results.get('writes')).toBe(true);
  });

  it('has one reconcileID in the lines of one reconcile, also in that of its token request', async () => {
    void run();
    await passes(seconds(10));
    const linesOf = (message: string) => fields.filter((_, at) => lines[at] === message);
    const [first] = linesOf('Reconciled');
    const request = { host: 'auth-staging.convercus.io', outcome: 'success' };
    expect(linesOf('Token request')).toMatchObject([
      { ...request, reconcileID: first?.['reconcileID'] },
    ]);
    const renewed = { namespace: 'shop', program: 'ABC', reason: 'TokenMissing' };
    expect(linesOf('Token renewed')).toMatchObject([
      { ...renewed, reconcileID: expect.any(String) },
    ]);
  });

  it('tells each issued token to the audit log, if there is one', async () => {
    void run();
    await passes(seconds(10));
    const token = { program: 'ABC', environment: 'staging', clientId: 'machine-2-machine' };
    expect(audited).toMatchObject([{ ...token, expiresAt: expect.stringMatching(/Z$/) }]);
    expect(JSON.stringify([audited, fields])).not.toContain(CANARY);
  });

  it('names a missing permission of many credentials once', async () => {
    api.forbidden.add('/api/v1/namespaces/shop/secrets');
    void run();
    await passes(seconds(30));
    const denied = 'is not allowed to create secrets in namespace "shop"';
    const warned = fields.filter((more, at) => lines[at]?.includes(denied) && more['verb']);
    expect(warned).toEqual([
      { verb: 'create', resource: 'secrets', code: '403', reconcileID: expect.any(String) },
    ]);
  });

  it('says what it lacks to reach the Lease', async () => {
    api.forbidden.add(
      '/apis/coordination.k8s.io/v1/namespaces/convercus/leases/convercus-operator',
    );
    void run({}, 'leaderElection: {namespace: convercus}');
    await passes(seconds(5));
    expect(readiness.results.get('lease')).toContain(
      'is not allowed to get leases.coordination.k8s.io',
    );
    expect(hosts.requests).toBe(0);
  });

  it('leads at once without leader election, and asks for no Lease', async () => {
    void run({}, 'leaderElection: {enabled: false}');
    await passes(seconds(1));
    expect(api.written).toContain('/api/v1/namespaces/shop/secrets');
    expect([...readiness.results.keys()]).toEqual(['credentials', 'secrets', 'writes']);
    expect(api.asked.filter((path) => path.includes('lease'))).toEqual([]);
    stop.abort();
    await settle();
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('leaves no timer and no listener of a term behind when the Lease is lost', async () => {
    const terms: boolean[] = [];
    void run({ leading: (leads) => void terms.push(leads) });
    await passes(minutes(1));
    const inTerm = { timers: clock.timers, listeners: listeners() };
    for (const holder of ['other', 'third']) {
      api.takeLease(holder, clock.now());
      await passes(seconds(5));
      expect(terms.at(-1)).toBe(false);
      expect(listeners()).toBeLessThan(inTerm.listeners);
      await passes(minutes(1));
      expect(terms.at(-1)).toBe(true);
      expect({ timers: clock.timers, listeners: listeners() }).toEqual(inTerm);
    }
    stop.abort();
    await settle();
    expect(terms).toEqual([true, false, true, false, true, false]);
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('forgets at the start of each term what instances of cluster credentials have come to', async () => {
    const beginTerm = jest.spyOn(ClusterCredentials.prototype, 'beginTerm');
    void run({}, 'clusterCredentials:\n  enabled: true\n  namespace: ops\n');
    await passes(minutes(1));
    expect(beginTerm).toHaveBeenCalledTimes(1);
    api.takeLease('other', clock.now());
    await passes(minutes(1));
    expect(beginTerm).toHaveBeenCalledTimes(2);
    beginTerm.mockRestore();
    stop.abort();
    await settle();
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('renews the tokens of a realm at once when a response raises its not-before policy', async () => {
    const tokenUrl =
      'https://auth-staging.convercus.io/realms/abc-staging/protocol/openid-connect/token';
    api.credential = aCredential({ status: { tokenUrl } });
    api.credentialElsewhere = aCredential({
      metadata: { namespace: 'elsewhere', uid: 'elsewhere' },
      spec: { renewal: { percent: 40 } },
    });
    const data = { client_secret: Buffer.from(`${CANARY}-other`).toString('base64') };
    api.sourceElsewhere = { ...api.sourceElsewhere, data };
    void run({}, 'watch: {namespaces: [shop, elsewhere]}');
    await passes(minutes(10));
    expect(hosts.requests).toBe(2);
    hosts.notBefore = clock.now();
    await passes(minutes(3)); // the one of elsewhere is renewed after 12 minutes
    expect(hosts.requests).toBe(4);
  });

  it('says that the clocks differ', async () => {
    hosts.skew = minutes(2);
    void run();
    await passes(seconds(5));
    expect(lines).toContain('The clocks differ by more than 30 s');
  });

  it('tries again after a bug in a reconcile, and logs nothing of its message', async () => {
    const bug = new TypeError(`${CANARY} in a message`);
    let isBroken = true;
    void run({
      renewal: () => {
        if (isBroken) throw bug;
      },
    });
    await passes(seconds(5));
    expect(lines).toContainEqual(expect.stringContaining('because of a bug'));
    expect(fields).toContainEqual(expect.objectContaining({ kind: 'TypeError' }));
    expect(JSON.stringify([lines, fields])).not.toContain(CANARY);
    isBroken = false;
    await passes(minutes(10));
    expect(ended).toBe('running');
    expect(api.written).toContain('/api/v1/namespaces/shop/secrets');
  });

  it('ends at once while a host is paused after a 429', async () => {
    hosts.response = 'too many';
    void run();
    await passes(seconds(5));
    expect(hosts.requests).toBe(1);
    stop.abort();
    await settle();
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('waits for the answer to a token request and writes down what came of it', async () => {
    hosts.takes = seconds(4.5); // after 5 s the status tells that the token is pending
    void run();
    await passes(seconds(1));
    stop.abort();
    await passes(seconds(4));
    expect(ended).toBe('stopped');
    expect(api.written.filter((path) => path !== 'lease')).toEqual([
      '/api/v1/namespaces/shop/secrets',
      '/apis/convercus.io/v1alpha1/namespaces/shop/convercuscredentials/loyalty/status',
      '/apis/events.k8s.io/v1/namespaces/shop/events',
    ]);
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('cuts a token request that hangs after 12 s, and then gives the Lease back', async () => {
    hosts.response = 'hangs';
    void run();
    await passes(seconds(1));
    stop.abort();
    await passes(seconds(11.5));
    expect(ended).toBe('running');
    await passes(seconds(1));
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: '' } });
  });

  it('needs no more than 3 s when the API server does not answer', async () => {
    void run();
    await passes(seconds(3));
    api.isFrozen = true;
    await passes(seconds(3));
    stop.abort();
    await passes(seconds(3));
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('needs no more than 15 s when both sides hang', async () => {
    hosts.response = 'hangs';
    void run();
    await passes(seconds(2.5));
    api.isFrozen = true;
    stop.abort();
    await passes(seconds(15));
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('ends at once before the Lease was reached and the first list was complete', async () => {
    api.isFrozen = true;
    void run();
    await passes(seconds(2));
    stop.abort();
    await settle();
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('closes everything after an error that it did not foresee, and gives the Lease back', async () => {
    const bug = new TypeError('a bug');
    void run({
      observe: ({ queue }) => {
        if (queue !== undefined) throw bug;
      },
    });
    await passes(seconds(1));
    expect(ended).toBe(bug);
    expect(everything()).toEqual(NOTHING_OPEN);
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: '' } });
    expect(lines).not.toContain('Stopped');
  });

  describe('for listed namespaces of which one may not be read', () => {
    const watch = 'watch: {namespaces: [shop, elsewhere]}';
    const message = expect.stringContaining(
      'is not allowed to list secrets in namespace "elsewhere"',
    );
    const SECRETS = '/api/v1/namespaces/elsewhere/secrets';
    const CREDENTIALS = `${CREDENTIALS_IN}/elsewhere/convercuscredentials`;
    const targetsIn = () => api.written.filter((path) => path.endsWith('/secrets'));

    it.each([SECRETS, CREDENTIALS])('serves the others, whether it is by %s', async (path) => {
      api.forbidden.add(path);
      void run({}, watch);
      await passes(seconds(5));
      expect(targetsIn()).toEqual(['/api/v1/namespaces/shop/secrets']);
      expect(readiness.results.get('secrets in shop')).toBe(true);
    });

    it('takes nothing there for absent, says so, and serves it as soon as it may be read', async () => {
      api.forbidden.add(SECRETS);
      void run({}, watch);
      await passes(minutes(2));
      const asked = new Set(api.asked.filter((path) => path.includes('elsewhere')));
      expect(asked).toEqual(new Set([CREDENTIALS, SECRETS]));
      expect(readiness.results.get('secrets in elsewhere')).toEqual({ degraded: message });
      expect(lines).toContainEqual(message);
      api.forbidden.clear();
      await passes(minutes(1));
      expect(targetsIn()).toEqual(['/api/v1/namespaces/shop/secrets', SECRETS]);
      expect(readiness.results.get('secrets in elsewhere')).toBe(true);
    });

    it('is not ready as long as none has been listed', async () => {
      api.forbidden.add(SECRETS).add('/api/v1/namespaces/shop/secrets');
      void run({}, watch);
      await passes(minutes(1));
      expect(readiness.results.get('secrets in elsewhere')).toEqual(message);
      api.forbidden.delete('/api/v1/namespaces/shop/secrets');
      await passes(minutes(1));
      expect(readiness.results.get('secrets in elsewhere')).toEqual({ degraded: message });
      expect(targetsIn()).toEqual(['/api/v1/namespaces/shop/secrets']);
    });
  });
});

function configOf(settings: string): Config {
  const config = parseConfig(settings, { readFile: () => '' });
  if (Array.isArray(config)) throw new Error(config.join('\n'));
  return config;
}
