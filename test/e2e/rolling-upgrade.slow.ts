import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ApiClient } from '../../dev/lab/api-client.ts';
import { type Publication, TargetReader } from '../../dev/lab/target-reader.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { installCluster, thisRelease } from '../../dev/testbed/operator.ts';
import { credentialObject, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { StandInApi } from '../cluster/stand-in-api.ts';
import { type UnpackedRelease, unpackRelease } from '../upgrade/release.ts';

const CLIENTS = 20;
const USERS = 10;
/** With tokens of the usual half an hour, which are not due during the test: a request for one is one of the upgrade. */
const IDLE_CLIENTS = 20;
/** Seconds. Renewed when 20 to 25 % are left, unless there is no leader for that time. */
const LIFESPAN = 40;

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}-${n}`);

/** Calls the API with each token in turn, about 100 times a second, as a program that reads the file for each call. */
class Consumer implements AsyncDisposable {
  readonly #api = new StandInApi();
  readonly #reader: TargetReader;
  readonly #stopped = new AbortController();
  #done: Promise<void> = Promise.resolve();

  constructor(reader: TargetReader) {
    this.#reader = reader;
  }

  async start(): Promise<void> {
    await this.#api.listen('127.0.0.1');
    this.#done = this.#run();
  }

  get calls() {
    return this.#api.calls('shop');
  }

  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      for (const publications of this.#reader.targets.values()) {
        const headers = { authorization: `Bearer ${publications.at(-1)?.token}` };
        const response = await fetch(`${this.#api.url}/shop`, { headers });
        await response.arrayBuffer();
        await sleep(10);
      }
      await sleep(10);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#done;
    this.#api.close();
  }
}

/**
 * 0.1.0 under load is replaced as `helm upgrade` does it: CRD and permissions, then a new pod, and the old one stops
 * when the new one is ready.
 */
describe('an upgrade from 0.1.0 under load', () => {
  let old: UnpackedRelease;
  let testbed: Testbed;
  /** Tokens of 40 s. */
  let busy: Tenant;
  let idle: Tenant;
  /** Before the upgrade. */
  let idleRequests: number;
  let reader: TargetReader;
  let consumer: Consumer;
  const parts = new AsyncDisposableStack();

  beforeAll(async () => {
    old = await unpackRelease('0.1.0');
    parts.defer(() => old.remove());
    testbed = parts.use(await Testbed.start({ release: old }));
    const client = await ApiClient.from(testbed.controlPlane.adminKubeconfig);
    parts.defer(() => client.close());
    reader = await TargetReader.start(client, 'data');
    parts.defer(() => reader.stop());
    busy = await testbed.tenant({ accessTokenLifespan: LIFESPAN });
    idle = await testbed.tenant();
    await createClients(busy, CLIENTS);
    await createUsers(busy, USERS);
    await createClients(idle, IDLE_CLIENTS);
    await createForTheTable(idle);
    for (const tenant of [busy, idle]) {
      const all = ['convercuscredentials', '--all', '--timeout=120s'];
      await tenant.kubectl('wait', '--for=condition=Ready', ...all);
    }
    consumer = parts.use(new Consumer(reader));
    await consumer.start();
  }, 600_000);

  afterAll(() => parts.disposeAsync(), 60_000);

  /** Each credential has a client of its own, so none shares a token. */
  async function createClients(tenant: Tenant, count: number): Promise<void> {
    const { program, clientSecret: secret } = tenant;
    const realm = testbed.provider.realms.get(tenant.realm);
    const ids = names('client', count);
    for (const clientId of ids) realm.putClient({ clientId, secret, serviceAccountsEnabled: true });
    await tenant.apply(...ids.map((clientId) => credentialObject(clientId, { program, clientId })));
  }

  async function createUsers(tenant: Tenant, count: number): Promise<void> {
    const { program, clientSecret: client_secret, password } = tenant;
    const realm = testbed.provider.realms.get(tenant.realm);
    const template = realm.findUser('api-user');
    const objects = names('user', count).flatMap((username) => {
      const email = `${username}@example.test`;
      realm.putUser({ ...template, id: `${tenant.realm}-${username}`, username, email });
      const source = `login-${username}`;
      const stringData = { client_secret, username, password };
      const spec = { program, grantType: 'password', credentialsSecretRef: { name: source } };
      return [
        { apiVersion: 'v1', kind: 'Secret', metadata: { name: source }, stringData },
        credentialObject(username, spec),
      ];
    });
    await tenant.apply(...objects);
  }

  /** What docs/upgrade.md tells to look after. */
  async function createForTheTable(tenant: Tenant): Promise<void> {
    for (const secret of ['consenting', 'silent']) {
      await tenant.secret(secret, { password: 'theirs' });
      const target = { name: secret, creationPolicy: 'Merge' } as const;
      await tenant.credential(`merge-${secret}`, { target });
    }
    await tenant.credential('named', { target: { name: 'named-session' } });
  }

  const requestsOf = ({ realm }: Tenant) =>
    testbed.provider.log.entries.filter((entry) => entry.realm === realm);

  /** Tokens that were replaced before their time. */
  const earlyRenewals = (publications: readonly Publication[]): number =>
    publications.filter(({ at }, index) => {
      const previous = publications[index - 1];
      return previous !== undefined && at < previous.renewAt - 1_000;
    }).length;

  it('expires no token, asks for none before its time, and makes no further login', async () => {
    await sleep(LIFESPAN * 1_000); // every token was renewed by 0.1.0
    await idle.allowMerge('consenting', 'merge-consenting');
    const requestsBefore = requestsOf(busy).length;
    idleRequests = requestsOf(idle).length;
    const started = Date.now();

    await installCluster(testbed.controlPlane, await thisRelease());
    const [before] = testbed.operators;
    const leader = await testbed.leader();
    const release = await thisRelease();
    await testbed.startOperator({ entry: release.entry });
    await before?.kill();
    const stopped = Date.now();
    await eventually(
      () => testbed.leader(),
      (holder) => holder !== '' && holder !== leader,
    );
    const led = Date.now();
    await sleep(2 * LIFESPAN * 1_000);

    const { accepted, expired, other } = consumer.calls;
    await testbed.operators.at(-1)?.kill(); // what is in flight is published first
    const series = [...reader.targets].filter(([key]) => key.startsWith(`${busy.namespace}/`));
    const early = series.map(([, publications]) => earlyRenewals(publications));
    const logins = requestsOf(busy).filter(({ grantType }) => grantType === 'password');
    const refused = [...requestsOf(busy), ...requestsOf(idle)].filter(
      ({ status }) => status !== 200,
    );
    console.log(
      `upgrade: ${(stopped - started) / 1_000} s until 0.1.0 had stopped, the new leader ${(led - stopped) / 1_000} s later; ` +
        `${accepted} calls accepted, ${expired} with an expired token, ${other} without one; ` +
        `${requestsOf(busy).length - requestsBefore} regular renewals of ${series.length} tokens since`,
    );
    expect({ expired, other }).toEqual({ expired: 0, other: 0 });
    expect(accepted).toBeGreaterThan(1_000);
    expect(series).toHaveLength(CLIENTS + USERS);
    expect(early).toEqual(series.map(() => 0));
    expect(requestsOf(busy)).toHaveLength(
      series.flatMap(([, publications]) => publications).length,
    );
    expect(logins).toHaveLength(USERS);
    expect(refused).toEqual([]);
  }, 300_000);

  it('asks for none of the tokens of half an hour', () => {
    expect(idleRequests).toBeGreaterThan(IDLE_CLIENTS);
    expect(requestsOf(idle)).toHaveLength(idleRequests);
  });

  it('goes on with a Merge target that was annotated before, and names the other', async () => {
    expect(await idle.conditions('merge-consenting')).toEqual({
      Ready: 'True/TokenValid',
      Renewed: expect.stringMatching(/^True\//),
    });
    expect(await idle.conditions('merge-silent')).toMatchObject({
      Ready: 'True/TokenValid',
      Renewed: 'False/MergeNotAllowed',
    });
  });

  it('refuses a target named like a session, whose token stays', async () => {
    expect(await idle.conditions('named')).toMatchObject({
      Ready: 'True/TokenValid',
      Renewed: 'False/InvalidSpec',
    });
    expect(await idle.token('named-session')).not.toBe('');
  });

  it('knows the short name convcred, and cvc no more', async () => {
    expect(await idle.kubectl('get', 'convcred', 'client-0')).toContain('client-0');
    await expect(idle.kubectl('get', 'cvc')).rejects.toThrow(/doesn't have a resource type/);
  });
});
