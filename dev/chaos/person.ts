import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiClient, type ApiRequest, eachLimit } from '../lab/api-client.ts';
import type { BuiltInProvider } from '../lab/built-in-provider.ts';
import {
  CLUSTER_CLIENT,
  CLUSTER_CREDENTIAL,
  CLUSTER_LABELS,
  CLUSTER_PATH,
  CLUSTER_SOURCE_PATH,
  CLUSTER_TARGETS_PATH,
  clusterProblems,
  clusterSource,
} from './cluster-credential.ts';
import type { CredentialObject } from './judge.ts';
import { clientOf, LEGACY_ORG, type Member, sourceKeyOf } from './population.ts';
import type { Edit, Order, TargetEdit } from './schedule.ts';

const AT_ONCE = 16;
const API = '/apis/convercus.io/v1alpha1';
const RENEW_REQUEST = 'convercus.io/renew-requested-at';
/** After a rotation the credentials are checked three times, with these pauses in milliseconds. */
const LOOKS = [5_000, 30_000, 30_000];
/** Longer than any outage. */
const PATIENCE = 180_000;

/** The state that a person wants for a credential. */
interface Wanted {
  scope: string;
  extra: string | undefined;
  suspend: boolean;
}

/** Carries out the edits as people and pipelines do, with retries while the API server is away. */
export class Person {
  /** All secrets that were created. None may occur outside of Secrets. */
  readonly secrets: string[] = [];
  readonly #client: ApiClient;
  readonly #provider: BuiltInProvider;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #wanted: ReadonlyMap<string, Wanted>;
  /** Client secrets by client, passwords by credential. */
  readonly #values = new Map<string, string>();
  /** By namespace: its edits run one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #gone = new AbortController();

  constructor(client: ApiClient, provider: BuiltInProvider, members: readonly Member[]) {
    this.#client = client;
    this.#provider = provider;
    this.#members = new Map(members.map((member) => [member.key, member]));
    this.#wanted = new Map(
      members.map(({ key }) => [key, { scope: 'openid', extra: undefined, suspend: false }]),
    );
  }

  /** Creates realms, accounts, and all namespaces with their objects. */
  async prepare(tokenSeconds: number): Promise<void> {
    const members = [...this.#members.values()];
    for (const [realm, own] of Map.groupBy(members, (member) => member.realm))
      await this.#addRealm(realm, own, tokenSeconds);
    await this.#provider.call('setLegacyLifespan', tokenSeconds);
    await eachLimit(this.#namespaces, AT_ONCE, (namespace) => this.#createNamespace(namespace));
    const secret = clusterSource(this.#values.get(CLUSTER_CLIENT) ?? '');
    await this.#create(CLUSTER_SOURCE_PATH.replace(/\/[^/]+$/, ''), secret);
    await this.#create(CLUSTER_PATH, CLUSTER_CREDENTIAL);
  }

  get #namespaces(): string[] {
    return [...new Set([...this.#members.values()].map(({ namespace }) => namespace))];
  }

  /** What is wrong with the ClusterConvercusCredential. */
  async clusterProblems(): Promise<string[]> {
    const read = (path: string) => this.#send({ method: 'GET', path });
    const lists = {
      credentials: await read(CLUSTER_PATH),
      targets: await read(CLUSTER_TARGETS_PATH),
    };
    return clusterProblems(this.#namespaces, lists, Date.now());
  }

  /** Resolves when the edit is done and, for a suspension, undone. */
  carryOut(edit: Edit): Promise<void> {
    const members = edit.keys.flatMap((key) => this.#members.get(key) ?? []);
    const namespaces = [...new Set(members.map(({ namespace }) => namespace))].sort();
    const before = namespaces.map((namespace) => this.#turns.get(namespace) ?? Promise.resolve());
    // Edits that last would block the namespace. The schedule does not give their credentials other edits meanwhile
    const mine = Promise.all(before).then(() => this.#do(edit, members));
    const isShort = edit.do === 'delete-namespace' || !('seconds' in edit);
    if (isShort)
      for (const namespace of namespaces)
        this.#turns.set(
          namespace,
          mine.catch(() => undefined),
        );
    return mine;
  }

  /** Ends the checks that still run. */
  leave(): void {
    this.#gone.abort();
  }

  /** All credentials, with their status. */
  async credentials(): Promise<CredentialObject[]> {
    const text = await this.#send({ method: 'GET', path: `${API}/convercuscredentials` });
    return JSON.parse(text).items;
  }

  async #do(edit: Edit, members: readonly Member[]): Promise<void> {
    const all = (work: (member: Member) => Promise<unknown>) => eachLimit(members, AT_ONCE, work);
    switch (edit.do) {
      case 'delete-targets':
        return all((member) => this.#deleteTarget(member));
      case 'edit-target':
        return all((member) => this.#editTarget(member, edit.how));
      case 'recreate':
        for (let round = 0; round < edit.rounds; round += 1)
          await all((member) => this.#recreate(member));
        return;
      case 'rotate-client':
        return this.#rotate(edit, members, (value) => this.#setClientSecret(edit.client, value));
      case 'rotate-password':
        return this.#rotate(edit, members, (value) => this.#setPassword(members, value));
      case 'lose-sessions':
        return this.#loseSessions(members);
      case 'revoke-realm':
        await this.#provider.call('logoutAll', edit.realm);
        return;
      case 'scope':
        return all((member) => this.#change(member, { scope: edit.scope }));
      case 'data':
        return all((member) => this.#change(member, { extra: edit.extra }));
      case 'suspend':
        await all((member) => this.#change(member, { suspend: true }));
        await sleep(edit.seconds * 1_000);
        return all((member) => this.#change(member, { suspend: false }));
      case 'delete-source':
      case 'replace-source':
        return this.#replaceSource(members, edit.seconds);
      case 'touch-source':
        return all((member) => this.#touchSource(member));
      case 'delete-session':
        return all(({ namespace, name }) => this.#delete(secretPath(namespace, `${name}-session`)));
      case 'renew':
        return all((member) => this.#requestRenewal(member));
      case 'delete-namespace':
        return this.#replaceNamespace(edit.namespace, edit.seconds);
    }
  }

  async #addRealm(realm: string, members: readonly Member[], tokenSeconds: number): Promise<void> {
    const clients = new Set(members.map(({ clientId }) => clientId));
    const settings = {
      accessTokenLifespan: tokenSeconds,
      ssoSessionIdleTimeout: 604_800,
      ssoSessionMaxLifespan: 2_592_000,
      revokeRefreshToken: true,
      bruteForceProtected: true,
      failureFactor: 5,
    };
    await this.#provider.addRealm({ realm, ...settings });
    for (const clientId of clients) await this.#setClientSecret(clientOf({ realm, clientId }));
    for (const member of members) if (member.username !== '') await this.#setPassword([member]);
  }

  #newValue(what: string): string {
    const value = `canary-${what}-${randomUUID()}`;
    this.secrets.push(value);
    return value;
  }

  /** Changes the value at the provider. Secrets get the value of `#values` at the time they are written. */
  async #setClientSecret(client: string, secret = this.#newValue('secret')): Promise<void> {
    this.#values.set(client, secret);
    const [realm = '', clientId = ''] = client.split('/');
    const rights = { serviceAccountsEnabled: true, directAccessGrantsEnabled: true };
    await this.#provider.call('putClient', realm, { clientId, secret, ...rights });
  }

  async #setPassword(
    members: readonly Member[],
    password = this.#newValue('password'),
  ): Promise<void> {
    for (const { key, kind, realm, username } of members) {
      this.#values.set(key, password);
      if (kind === 'legacy') {
        const account = { org: LEGACY_ORG, userName: username, password };
        await this.#provider.call('putLegacyAccount', account);
        continue;
      }
      const credentials = [{ type: 'password', value: password }];
      const profile = { email: `${username}@example.test`, firstName: 'Api', lastName: 'User' };
      await this.#provider.call('putUser', realm, { username, credentials, ...profile });
    }
  }

  async #rotate(
    { do: what, order, seconds }: { readonly do: string; readonly order: Order; seconds: number },
    members: readonly Member[],
    atProvider: (value: string) => Promise<void>,
  ): Promise<void> {
    const value = this.#newValue(what === 'rotate-client' ? 'secret' : 'password');
    const key = what === 'rotate-client' ? 'client_secret' : 'password';
    const inSecrets = async (): Promise<void> => {
      const sources = new Map(members.map((member) => [sourceKeyOf(member), member]));
      const body = { stringData: { [key]: value } };
      const paths = Array.from(sources.values(), (it) => secretPath(it.namespace, it.source));
      const isOfCluster = members.some((member) => clientOf(member) === CLUSTER_CLIENT);
      if (isOfCluster && key === 'client_secret') paths.push(CLUSTER_SOURCE_PATH);
      await eachLimit(paths, AT_ONCE, (path) => this.#patch(path, body));
    };
    const atFirst = order === 'provider-first' ? () => atProvider(value) : inSecrets;
    const atLast = order === 'provider-first' ? inSecrets : () => atProvider(value);
    await atFirst();
    await sleep(seconds * 1_000);
    await atLast();
    if (order === 'secret-first') this.#mend(members).catch(() => undefined);
  }

  /** Requests a renewal, as documented, for credentials that failed meanwhile and wait for a person. */
  async #mend(members: readonly Member[]): Promise<void> {
    const keys = new Set(members.map(({ key }) => key));
    for (const [index, look] of LOOKS.entries()) {
      await sleep(look, undefined, { signal: this.#gone.signal });
      const isLast = index === LOOKS.length - 1;
      const waiting = (await this.credentials()).filter(
        (credential) =>
          keys.has(keyOf(credential)) &&
          (isTerminal(credential) || (isLast && isStalled(credential))),
      );
      await eachLimit(waiting, AT_ONCE, async (credential) => {
        const member = this.#members.get(keyOf(credential));
        if (member !== undefined) await this.#requestRenewal(member);
      });
    }
  }

  async #loseSessions(members: readonly Member[]): Promise<void> {
    for (const [realm, own] of Map.groupBy(members, (member) => member.realm)) {
      const usernames = own.map(({ username }) => username);
      await this.#provider.call('endSessions', realm, usernames);
    }
  }

  async #change(member: Member, change: Partial<Wanted>): Promise<void> {
    const wanted = this.#wanted.get(member.key);
    if (wanted === undefined) return;
    Object.assign(wanted, change);
    const { scope, suspend } = wanted;
    await this.#patch(credentialPath(member), {
      spec: { scope, suspend, target: { data: this.#dataOf(wanted) } },
    });
  }

  #dataOf({ extra }: Wanted): Record<string, string> {
    const more = extra === undefined ? {} : { extra: `${extra} until {{expires_at}}` };
    return { token: '{{access_token}}', ...more };
  }

  async #replaceSource([member]: readonly Member[], seconds: number): Promise<void> {
    if (member === undefined) return;
    await this.#delete(secretPath(member.namespace, member.source));
    await sleep(seconds * 1_000);
    await this.#createSource(member);
  }

  #touchSource({ namespace, source }: Member): Promise<void> {
    const annotations = { 'example.test/touched': randomUUID() };
    return this.#patch(secretPath(namespace, source), { metadata: { annotations } });
  }

  #requestRenewal(member: Member): Promise<void> {
    const annotations = { [RENEW_REQUEST]: `${new Date().toISOString()} ${randomUUID()}` };
    return this.#patch(credentialPath(member), { metadata: { annotations } });
  }

  async #deleteTarget(member: Member): Promise<void> {
    await this.#delete(secretPath(member.namespace, member.target));
    if (member.creationPolicy === 'Merge') await this.#createApp(member);
  }

  #editTarget({ namespace, target }: Member, how: TargetEdit): Promise<void> {
    const later = new Date(Date.now() + 86_400_000).toISOString();
    const edits: Record<TargetEdit, object> = {
      'other-token': { stringData: { token: 'edited by hand' } },
      'no-token': { data: { token: null } },
      'no-notes': { metadata: { annotations: null } },
      'later-expiry': {
        metadata: {
          annotations: { 'convercus.io/expires-at': later, 'convercus.io/renew-at': later },
        },
      },
    };
    return this.#patch(secretPath(namespace, target), edits[how]);
  }

  async #recreate(member: Member): Promise<void> {
    await this.#delete(credentialPath(member));
    await this.#createCredential(member);
  }

  async #replaceNamespace(namespace: string, seconds: number): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}`;
    await this.#delete(path);
    const deadline = Date.now() + PATIENCE;
    while ((await this.#send({ method: 'GET', path }, 404)) !== '') {
      if (Date.now() > deadline) throw new Error(`namespace ${namespace} does not go`);
      await sleep(500);
    }
    await sleep(seconds * 1_000);
    await this.#createNamespace(namespace);
  }

  async #createNamespace(namespace: string): Promise<void> {
    const metadata = { name: namespace, labels: CLUSTER_LABELS };
    await this.#create('/api/v1/namespaces', { metadata });
    const members = [...this.#members.values()].filter((each) => each.namespace === namespace);
    const sources = new Map(members.map((member) => [member.source, member]));
    await eachLimit([...sources.values()], AT_ONCE, (member) => this.#createSource(member));
    await eachLimit(members, AT_ONCE, async (member) => {
      if (member.creationPolicy === 'Merge') await this.#createApp(member);
      await this.#createCredential(member);
    });
  }

  #createSource(member: Member): Promise<void> {
    const { key, kind, namespace, source: name, username } = member;
    const password = this.#values.get(key) ?? '';
    const clientSecret = this.#values.get(clientOf(member)) ?? '';
    const stringData = {
      ...(kind === 'legacy' ? { org: LEGACY_ORG } : { client_secret: clientSecret }),
      ...(username === '' ? {} : { username, password }),
    };
    return this.#create(`/api/v1/namespaces/${namespace}/secrets`, {
      metadata: { name },
      stringData,
    });
  }

  /** A Secret of the user, for creationPolicy Merge. */
  #createApp({ namespace, name: credential, target: name }: Member): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/secrets`;
    const annotations = { 'convercus.io/merge': credential };
    const metadata = { name, annotations };
    return this.#create(path, { metadata, stringData: { url: 'https://example.test' } });
  }

  #createCredential(member: Member): Promise<void> {
    const { key, namespace, name, kind, program, clientId, source, target } = member;
    const wanted = this.#wanted.get(key) ?? { scope: 'openid', extra: undefined, suspend: false };
    const grants = { shared: undefined, own: undefined, password: kind, legacy: 'legacy_login' };
    const { creationPolicy, deletionPolicy } = member;
    return this.#create(`${API}/namespaces/${namespace}/convercuscredentials`, {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata: { name },
      spec: {
        program,
        environment: 'staging',
        clientId,
        ...(grants[kind] === undefined ? {} : { grantType: grants[kind] }),
        scope: wanted.scope,
        suspend: wanted.suspend,
        credentialsSecretRef: { name: source },
        target: { name: target, creationPolicy, deletionPolicy, data: this.#dataOf(wanted) },
        renewal: { percent: 50 },
      },
    });
  }

  async #create(path: string, body: object): Promise<void> {
    await this.#send({ method: 'POST', path, body }, 409);
  }

  /** A PATCH that does nothing when the object does not exist. */
  async #patch(path: string, body: object): Promise<void> {
    const contentType = 'application/merge-patch+json';
    await this.#send({ method: 'PATCH', path, body, contentType }, 404);
  }

  async #delete(path: string): Promise<void> {
    await this.#send({ method: 'DELETE', path }, 404);
  }

  /** Repeats the request until the API server responds. @returns the body; empty for the status `allowed` */
  async #send(request: ApiRequest, allowed = 0): Promise<string> {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
      try {
        return await this.#client.send({ ...request, signal: AbortSignal.timeout(15_000) });
      } catch (error) {
        const [, status] = / answered (\d+):/.exec(String(error)) ?? [];
        if (Number(status) === allowed) return '';
        this.#gone.signal.throwIfAborted();
        const isFinal = status !== undefined && ['400', '404', '409', '422'].includes(status);
        if (isFinal || Date.now() > deadline) throw error;
        await sleep(300);
      }
    }
  }
}

const secretPath = (namespace: string, name: string): string =>
  `/api/v1/namespaces/${namespace}/secrets/${name}`;

const credentialPath = ({ namespace, name }: Member): string =>
  `${API}/namespaces/${namespace}/convercuscredentials/${name}`;

export const keyOf = ({ metadata }: CredentialObject): string =>
  `${metadata.namespace}/${metadata.name}`;

export const conditionOf = ({ status }: CredentialObject, type: string) =>
  status?.conditions?.find((condition) => condition.type === type);

/** With a token in place the operator retries by itself before the token expires, so people wait for a minute. */
export const isStalled = (credential: CredentialObject): boolean =>
  conditionOf(credential, 'Stalled')?.status === 'True';

/** The credential has no token, or a rejected login that the operator does not repeat by itself. */
const isTerminal = (credential: CredentialObject): boolean =>
  conditionOf(credential, 'Ready')?.status !== 'True' ||
  conditionOf(credential, 'Renewed')?.reason === 'CredentialsRejected';
