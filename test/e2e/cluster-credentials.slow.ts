import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controllers } from '../../dev/chaos/controllers.ts';
import type { AuditedRequest } from '../../dev/testbed/audit.ts';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import { OPERATOR_NAMESPACE } from '../../dev/testbed/operator.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import type { ClusterConvercusCredential } from '../../src/credential/cluster-api.ts';
import { expectNoLeaks } from './leaks.ts';

/** N=200 FIGURES=1 measures what docs/measurements.md tells, and prints it. */
const N = Number(process.env['N'] ?? 20);
/** Seconds. Tokens are renewed at 80 %, 5 % more or less. */
const LIFESPAN = N > 50 ? 60 : 30;
const PROGRAM = 'acme';
const REALM = 'acme-staging';
const TARGET = 'convercus-token';
/** On a busy machine. */
const PATIENCE = 150;

type Status = NonNullable<ClusterConvercusCredential['status']>;

const numbered = (count: number) => Array.from({ length: count }, (_, at) => `shop-${at}`);

const namespaceObject = (name: string, labels: Record<string, string> = { acme: 'yes' }) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
});

/** Against a real API server with garbage collector and namespace controller, with the permissions of `deploy/`. */
describe('a ClusterConvercusCredential', () => {
  const figures: string[] = [];
  let testbed: Testbed;
  let controllers: Controllers;
  let password: string;

  beforeAll(async () => {
    const clusterCredentials = { enabled: true, namespace: OPERATOR_NAMESPACE };
    testbed = await Testbed.start({
      clusterCredentials: true,
      operators: [{ clusterCredentials }],
    });
    controllers = await Controllers.start(testbed.controlPlane, () => undefined);
    const realm = await testbed.addRealm(REALM, { accessTokenLifespan: LIFESPAN });
    password = realm.password;
    const stringData = {
      client_secret: realm.clientSecret,
      username: 'api-user',
      password: realm.password,
    };
    await apply(
      { ...secretObject('acme', OPERATOR_NAMESPACE), stringData },
      ...numbered(N).map((name) => namespaceObject(name)),
    );
  }, 600_000);

  afterAll(async () => {
    if (process.env['FIGURES'] !== undefined) process.stdout.write(`${figures.join('\n')}\n`);
    await controllers?.stop();
    await testbed?.stop();
  });

  const kubectl = (...args: string[]) => testbed.controlPlane.kubectl(args);

  const apply = (...objects: object[]) =>
    testbed.controlPlane.kubectl(['apply', '-f', '-'], { input: manifest(objects) });

  const secretObject = (name: string, namespace: string) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace },
  });

  const credential = (name: string, spec: object = {}) => ({
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ClusterConvercusCredential',
    metadata: { name },
    spec: {
      program: PROGRAM,
      environment: 'staging',
      credentialsSecretRef: { name: 'acme' },
      namespaceSelector: { matchLabels: { acme: 'yes' } },
      target: { name: TARGET },
      ...spec,
    },
  });

  const statusOf = async (name: string): Promise<Status> =>
    JSON.parse(await kubectl('get', 'cconvcred', name, '-o', 'json')).status ?? {};

  const untilReady = (name: string, count: number) =>
    eventually(
      () => statusOf(name),
      ({ namespaces }) => namespaces?.ready === count && namespaces.selected === count,
      PATIENCE,
    );

  /** `namespace issued-at` of each target. */
  const targets = async (name = 'acme'): Promise<string[]> => {
    const path = String.raw`{range .items[*]}{.metadata.namespace} {.metadata.annotations.convercus\.io/issued-at}{"\n"}{end}`;
    const label = `convercus.io/cluster-credential=${name},app.kubernetes.io/component!=session`;
    const text = await kubectl('get', 'secrets', '-A', '-l', label, '-o', `jsonpath=${path}`);
    return text.split('\n').filter((line) => line !== '');
  };

  const untilTargets = (pleases: (lines: readonly string[]) => boolean, name?: string) =>
    eventually(() => targets(name), pleases, PATIENCE);

  const tokenOf = async (namespace: string): Promise<string> => {
    const path = ['-o', 'jsonpath={.data.token}', '--ignore-not-found'];
    const encoded = await kubectl('get', 'secret', TARGET, '-n', namespace, ...path);
    const token = Buffer.from(encoded, 'base64').toString();
    if (token !== '') testbed.tokens.push(token);
    return token;
  };

  const asked = (): string[] =>
    testbed.provider.log.entries
      .filter(({ realm }) => realm === REALM)
      .map(({ grantType, endpoint, status }) => `${grantType || endpoint} ${status}`);

  const perVerb = (requests: readonly AuditedRequest[]): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const { verb, resource } of requests) {
      if (verb === 'watch' || resource === 'leases') continue;
      counts[`${verb} ${resource}`] = (counts[`${verb} ${resource}`] ?? 0) + 1;
    }
    return counts;
  };

  const seconds = (since: number) => ((Date.now() - since) / 1_000).toFixed(1);

  it('gives all its namespaces a token by one request', async () => {
    const before = await testbed.audit.length();
    const began = Date.now();
    await apply(credential('acme'));
    await untilTargets((lines) => lines.length === N);
    figures.push(`${N} namespaces: all have their token after ${seconds(began)} s`);
    const status = await untilReady('acme', N);
    figures.push(`the status says so after ${seconds(began)} s`);

    expect(asked()).toEqual(['client_credentials 200']);
    expect(status).toMatchObject({
      observedGeneration: 1,
      namespaces: { selected: N, ready: N, failing: 0, terminating: 0 },
    });
    expect(status.conditions).toMatchObject([
      { type: 'Ready', status: 'True', reason: 'TokenValid' },
      { type: 'Renewed', status: 'True', reason: 'Issued' },
    ]);
    expect(await tokenOf('shop-0')).toBe(await tokenOf(`shop-${N - 1}`));
    const metrics = await testbed.operator.get('/metrics');
    expect(metrics).toMatch(/^convercus_credential_ready\{namespace="",name="acme",.*\} 1$/m);
    expect(metrics).toContain(
      `convercus_cluster_credential_namespaces{name="acme",state="ready"} ${N}`,
    );
    expect(metrics).not.toContain('namespace="shop-0"');
    const counts = perVerb(await testbed.audit.since(before));
    figures.push(`first round: ${JSON.stringify(counts)}`);
    expect(counts['create secrets']).toBe(N);
    expect(counts['get secrets']).toBe(1);
    const events = 'events.v1.events.k8s.io';
    const found = await eventually(
      () => kubectl('get', events, '-n', 'default', '-o', 'jsonpath={.items[*].reason}'),
      (text) => text !== '',
    );
    expect(found).toBe('TokenIssued');
  }, 300_000);

  it('renews them by one request and one write each', async () => {
    const first = new Set(await targets());
    const [requests, before] = [asked().length, await testbed.audit.length()];
    await untilTargets((lines) => lines.length === N && !lines.some((line) => first.has(line)));
    expect(asked().slice(requests)).toEqual(['client_credentials 200']);
    const counts = perVerb(await testbed.audit.since(before));
    figures.push(`renewal: ${JSON.stringify(counts)}`);
    expect(counts['update secrets']).toBe(N);
    expect(counts['get secrets']).toBeUndefined();
    expect(counts['patch clusterconvercuscredentials/status'] ?? 0).toBeLessThanOrEqual(2);
  }, 300_000);

  it('gives a new namespace the token that there is', async () => {
    const requests = asked().length;
    const began = Date.now();
    await apply(namespaceObject('late'));
    const token = await eventually(
      () => tokenOf('late'),
      (text) => text !== '',
      PATIENCE,
    );
    figures.push(`a new namespace has its token after ${seconds(began)} s`);
    expect(token).not.toBe('');
    expect(asked().length - requests).toBeLessThanOrEqual(1); // a renewal may be due
  }, 300_000);

  it('follows namespaces that are relabelled, deleted and made again', async () => {
    const began = Date.now();
    await kubectl('label', 'namespace', 'shop-0', 'acme-');
    await kubectl('label', 'namespace', 'shop-1', 'acme=no', '--overwrite');
    await eventually(
      () => tokenOf('shop-0'),
      (token) => token === '',
      PATIENCE,
    );
    await eventually(
      () => tokenOf('shop-1'),
      (token) => token === '',
      PATIENCE,
    );
    figures.push(`two relabelled namespaces have lost it after ${seconds(began)} s`);
    await kubectl('delete', 'namespace', 'shop-2', 'shop-3', '--timeout=120s');
    await apply(namespaceObject('shop-2'));
    await kubectl('label', 'namespace', 'shop-0', 'acme=yes');
    await eventually(
      () => tokenOf('shop-0'),
      (token) => token !== '',
      PATIENCE,
    );
    await eventually(
      () => tokenOf('shop-2'),
      (token) => token !== '',
      PATIENCE,
    );
    expect(await tokenOf('shop-1')).toBe('');
    const status = await untilReady('acme', N - 1); // less shop-1 and shop-3, and late
    expect(status).toMatchObject({ namespaces: { selected: N - 1, ready: N - 1, failing: 0 } });
    expect(status.failures).toBeUndefined();
  }, 400_000);

  it('is told of what is in the way in one namespace, and no other suffers', async () => {
    const owned = { ...secretObject('taken-token', 'shop-4'), stringData: { own: 'thing' } };
    await apply(owned);
    const names = ['shop-4', 'shop-5', 'ghost'];
    await apply(
      credential('taken', {
        namespaceSelector: undefined,
        namespaces: names,
        target: { name: 'taken-token' },
      }),
    );
    const status = await eventually(
      () => statusOf('taken'),
      ({ namespaces }) => namespaces?.ready === 1 && namespaces.failing === 1,
      PATIENCE,
    );
    expect(status.failures).toMatchObject([
      { namespace: 'ghost', reason: 'NamespaceNotFound' },
      { namespace: 'shop-4', reason: 'TargetNotOurs' },
    ]);
    expect((await untilReady('acme', N - 1)).namespaces?.failing).toBe(0);
    await kubectl('delete', 'cconvcred', 'taken');
    await apply(credential('nothing', { namespaceSelector: { matchLabels: { a: 'b' } } }));
    const nothing = await eventually(
      () => statusOf('nothing'),
      ({ conditions }) => conditions !== undefined,
    );
    expect(nothing.conditions).toMatchObject([
      { status: 'False', reason: 'NoNamespaceSelected' },
      {},
    ]);
    const absent = { credentialsSecretRef: { name: 'absent' }, target: { name: 'absent-token' } };
    await apply(credential('absent', absent));
    const missing = await eventually(
      () => statusOf('absent'),
      ({ namespaces }) => namespaces?.failing === N - 1,
      PATIENCE,
    );
    expect(missing.failures).toHaveLength(10);
    expect(missing.conditions).toMatchObject([
      { type: 'Ready', status: 'False', reason: 'InputMissing' },
      { type: 'Renewed', status: 'False', reason: 'InputMissing' },
      { type: 'Stalled' },
    ]);
    await kubectl('delete', 'cconvcred', 'nothing', 'absent');
  }, 400_000);

  it('arrives as well when the operator is killed in the middle', async () => {
    await apply(credential('second', { target: { name: 'second-token' } }));
    await untilTargets((lines) => lines.length > 5, 'second');
    await testbed.crash();
    await kubectl('label', 'namespace', 'shop-5', 'acme-');
    const began = Date.now();
    await testbed.operator.run();
    await untilReady('second', N - 2);
    await untilReady('acme', N - 2);
    figures.push(
      `killed in the middle: all as it should be ${seconds(began)} s after the next start`,
    );
    for (const name of ['acme', 'second']) {
      const lines = await untilTargets((found) => found.length === N - 2, name);
      expect(lines).toHaveLength(N - 2);
      expect(lines.filter((line) => line.startsWith('shop-5 '))).toEqual([]);
    }
  }, 400_000);

  it('has one session for all namespaces with the grant password', async () => {
    const since = asked().length;
    const spec = { grantType: 'password', target: { name: 'session-token' } };
    await apply(credential('session', { ...spec, renewal: { percent: 20 } }));
    await untilReady('session', N - 2);
    const grants = () =>
      asked()
        .slice(since)
        .filter((it) => !it.startsWith('client_credentials'));
    await eventually(
      async () => grants(),
      (all) => all.length >= 3,
      PATIENCE,
    );
    expect(grants().slice(0, 3)).toEqual([
      'password 200',
      'refresh_token 200',
      'refresh_token 200',
    ]);
    const session = ['secret', 'session-cluster-session', '-n', OPERATOR_NAMESPACE];
    expect(await kubectl('get', ...session, '-o', 'name')).not.toBe('');
    await kubectl('delete', 'cconvcred', 'session');
    const gone = await eventually(
      () => kubectl('get', ...session, '-o', 'name', '--ignore-not-found'),
      (text) => text === '',
      PATIENCE,
    );
    expect(gone).toBe('');
    expect(grants()).toContain('logout 204');
  }, 400_000);

  it('leaves nothing behind', async () => {
    await expectNoLeaks(testbed, [password]);
    const began = Date.now();
    await kubectl('delete', 'cconvcred', '--all');
    for (const name of ['acme', 'second', 'session', 'taken', 'absent']) {
      expect(await untilTargets((lines) => lines.length === 0, name)).toEqual([]);
    }
    figures.push(`deleted: the last of the Secrets is gone after ${seconds(began)} s`);
    const ours = 'app.kubernetes.io/managed-by=convercus-operator';
    expect(await kubectl('get', 'secrets', '-A', '-l', ours, '-o', 'name')).toBe('');
  }, 300_000);
});
