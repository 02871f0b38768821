import type { ConvercusCredential } from '../../src/credential/api.ts';
import type { ClusterConvercusCredential } from '../../src/credential/cluster-api.ts';
import { clusterNameOf, instanceNameOf } from '../../src/credential/cluster-name.ts';
import { sessionNameOf, targetNameOf } from '../../src/credential/credential.ts';
import type { CredentialEvent, EventSubject } from '../../src/credential/events.ts';
import {
  type CredentialResource,
  credentialsNamespaceOf,
  instanceIn,
  isInstance,
  isSameInstance,
  type NamespaceMeta,
} from '../../src/credential/instance.ts';
import type {
  DesiredSecret,
  KnownSecret,
  SecretContents,
  SecretIdentity,
  SecretMeta,
} from '../../src/credential/secret.ts';
import {
  CLUSTER_CREDENTIAL_LABEL,
  COMPONENT_LABEL,
  CREDENTIAL_LABEL,
  credentialOfManager,
  DELETION_POLICY_ANNOTATION,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  MERGE_ANNOTATION,
  SESSION_COMPONENT,
} from '../../src/credential/target-secret.ts';
import { parseTokenAnnotations } from '../../src/credential/token-annotations.ts';
import { ClusterCredentials } from '../../src/kubernetes/cluster-credentials.ts';
import { Failure } from '../../src/lib/failure.ts';
import { type Key, splitKey } from '../../src/lib/key.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import type { ClusterClient, Lister } from '../../src/reconcile/dependencies.ts';

/** A Secret as the API server stores it. */
export interface StoredSecret {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string>>;
  readonly controllerUid?: string;
  /** Who has set a field (`data.token`, `annotations.NAME`), as far as it was set by apply; several by spaces. */
  readonly managers?: Readonly<Record<string, string>>;
}

export type Call =
  | 'readSecretMeta'
  | 'readSecret'
  | 'applySecret'
  | 'deleteSecret'
  | 'readCredential'
  | 'applyStatus'
  | 'readClusterCredential'
  | 'applyClusterStatus';

/** Where credentials Secrets and sessions of ClusterConvercusCredentials are. */
export const CREDENTIALS_NAMESPACE = 'convercus';

export interface RecordedEvent extends CredentialEvent {
  readonly about: Key;
}

/** As much of an API server, and of the watches on it, as ports.ts promises. The watches are never late. */
export class FakeCluster implements ClusterClient, Lister {
  readonly events: RecordedEvent[] = [];
  /** Every request so far, as `call name`. */
  readonly requests: string[] = [];
  /** The Lister lacks labels, annotations and data of targets, as if all of them were large. */
  omitsTargets = false;
  readonly #credentials = new Map<Key, CredentialResource>();
  /** Keys of what has changed about ClusterConvercusCredentials. */
  readonly changed = new Set<Key>();
  readonly clusterCredentials = new ClusterCredentials({
    namespace: CREDENTIALS_NAMESPACE,
    instances: {
      credential: (key) => this.#credentials.get(key),
      applyInstance: (instance) => this.#applyInstance(instance),
      resetInstance: (instance) => this.put(instance),
      enqueueFormer: () => undefined,
      deleteInstance: (key) => {
        this.#credentials.delete(key);
        this.changed.add(key);
      },
    },
    enqueue: (keys) => {
      for (const key of keys) this.changed.add(key);
    },
  });
  readonly #clusterHandler = this.clusterCredentials.credentialHandler();
  readonly #namespaceHandler = this.clusterCredentials.namespaceHandler();
  readonly #clusters = new Map<string, ClusterConvercusCredential>();
  /** Credentials that exist, but that our watch does not show. */
  readonly #others = new Map<Key, ConvercusCredential>();
  readonly #secrets = new Map<Key, StoredSecret>();
  readonly #unknown = new Set<Key>();
  readonly #failures: { call: Call; failure: Failure; carriedOut: boolean }[] = [];
  readonly #outages: { call: Call; holds: () => boolean; failure: Failure }[] = [];
  #count = 0;

  constructor() {
    for (const handler of [this.#clusterHandler, this.#namespaceHandler]) {
      handler.init('1', false);
      handler.initDone();
    }
  }

  // What people and other programs do

  putCluster(credential: ClusterConvercusCredential): void {
    this.#clusters.set(credential.metadata.name, credential);
    this.#clusterHandler.apply(credential);
  }

  /** With its Secrets, as the garbage collector does it. */
  removeCluster(name: string): void {
    const credential = this.#clusters.get(name);
    if (credential === undefined) throw new Error(`no cluster credential ${name}`);
    this.#clusters.delete(name);
    this.#clusterHandler.delete(credential);
    this.#collectGarbageOf(credential.metadata.uid);
  }

  cluster(name: string): ClusterConvercusCredential {
    const found = this.#clusters.get(name);
    if (found === undefined) throw new Error(`no cluster credential ${name}`);
    return found;
  }

  putNamespace(name: string, more: Partial<NamespaceMeta> = {}): void {
    this.#namespaceHandler.apply({ name, labels: {}, isTerminating: false, ...more });
  }

  /** With its Secrets. */
  removeNamespace(name: string): void {
    this.#namespaceHandler.delete({ name, labels: {}, isTerminating: true });
    for (const key of this.#secrets.keys()) {
      if (splitKey(key).namespace === name) this.#secrets.delete(key);
    }
  }

  put(credential: CredentialResource): void {
    this.#credentials.set(keyOf(credential.metadata), credential);
  }

  /** A credential that another release looks after. */
  putUnwatched(credential: ConvercusCredential): void {
    this.#others.set(keyOf(credential.metadata), credential);
  }

  /** From now on another release looks after the credential. */
  unwatch(key: Key): void {
    this.putUnwatched(this.#existing(key));
    this.#credentials.delete(key);
  }

  /** We look after the credential again. */
  watchAgain(key: Key): void {
    const credential = this.#others.get(key);
    this.#others.delete(key);
    if (credential !== undefined) this.put(credential);
  }

  remove(key: Key): void {
    const uid = this.#credentials.get(key)?.metadata.uid;
    this.#credentials.delete(key);
    if (uid !== undefined) this.#collectGarbageOf(uid);
  }

  /** Changes a credential as `kubectl edit` would: a new generation. */
  edit(key: Key, change: (spec: ConvercusCredential['spec']) => ConvercusCredential['spec']): void {
    const { metadata, spec, ...rest } = this.#existing(key);
    const next = { ...metadata, generation: metadata.generation + 1 };
    this.put({ ...rest, metadata: next, spec: change(spec) });
  }

  annotate(key: Key, annotations: Record<string, string>): void {
    const { metadata, ...rest } = this.#existing(key);
    this.put({ ...rest, metadata: { ...metadata, annotations } });
  }

  wipeStatus(key: Key): void {
    const { status: _, ...rest } = this.#existing(key);
    this.put(rest);
  }

  /** Creates the Secret or changes the given parts of it. */
  putSecret(key: Key, change: Partial<StoredSecret>): void {
    const before = this.#secrets.get(key) ?? {
      uid: `uid-${this.#next()}`,
      type: 'Opaque',
      labels: {},
      annotations: {},
      data: {},
    };
    this.#secrets.set(key, { ...before, ...change, resourceVersion: this.#next() });
  }

  removeSecret(key: Key): void {
    this.#secrets.delete(key);
  }

  /** The watches have not shown this Secret: only a request tells. */
  hide(key: Key): void {
    this.#unknown.add(key);
  }

  /**
   * The next call of that kind fails.
   * @param carriedOut the server did as it was told, only its answer was lost
   */
  failNext(call: Call, failure: Failure = OUTAGE, carriedOut = false): void {
    this.#failures.push({ call, failure, carriedOut });
  }

  /** Every call of that kind fails as long as that holds. */
  failWhile(call: Call, holds: () => boolean, failure: Failure = OUTAGE): void {
    this.#outages.push({ call, holds, failure });
  }

  // What a test looks at

  stored(key: Key): StoredSecret | undefined {
    return this.#secrets.get(key);
  }

  statusOf(key: Key): NonNullable<ConvercusCredential['status']> | undefined {
    return this.#credentials.get(key)?.status;
  }

  /** Statuses of instances are lost with the process. */
  forgetInstances(): void {
    this.clusterCredentials.beginTerm();
  }

  /** Of every credential and instance, and of targets of instances that are gone. */
  keys(): Key[] {
    const owners = [...this.#secrets.keys()].flatMap((key) => {
      const meta = this.#metaOf(key);
      const name = meta === 'absent' ? undefined : meta.credentialName;
      if (name === undefined || clusterNameOf(name) === undefined) return [];
      return [`${splitKey(key).namespace}/${name}`];
    });
    return [...new Set([...this.#credentials.keys(), ...owners])];
  }

  get statuses(): unknown[] {
    return [...this.#credentials.values()].map(({ status }) => status);
  }

  // Lister

  credential(key: Key): CredentialResource | undefined {
    const found = this.#credentials.get(key);
    if (found === undefined || !this.omitsTargets) return found;
    const { labels: _, annotations: __, data: ___, ...target } = found.spec.target;
    return { ...found, spec: { ...found.spec, target } };
  }

  secret(namespace: string, name: string): KnownSecret {
    const key = `${namespace}/${name}`;
    return this.#unknown.has(key) ? 'unknown' : this.#metaOf(key);
  }

  credentialsWithTarget(namespace: string, targetName: string): readonly CredentialResource[] {
    return [...this.#credentials.values()].filter(
      (each) => each.metadata.namespace === namespace && targetNameOf(each) === targetName,
    );
  }

  referrers(namespace: string, secretName: string): readonly CredentialResource[] {
    return [...this.#credentials.values()].filter(
      (each) =>
        credentialsNamespaceOf(each) === namespace &&
        each.spec.credentialsSecretRef.name === secretName,
    );
  }

  hasSession(key: Key): boolean {
    const { namespace, name } = splitKey(key);
    const isOfCluster = clusterNameOf(name) !== undefined;
    if (isOfCluster && namespace !== '') return false;
    const at = isOfCluster ? CREDENTIALS_NAMESPACE : namespace;
    const meta = this.#metaOf(`${at}/${sessionNameOf(name)}`);
    return meta !== 'absent' && meta.isSession === true;
  }

  formerTargets(key: Key): readonly string[] {
    const { namespace, name } = splitKey(key);
    const credential = this.#credentials.get(key);
    const named = credential === undefined ? undefined : targetNameOf(credential);
    return [...this.#secrets.keys()]
      .filter((secret) => splitKey(secret).namespace === namespace)
      .filter((secret) => {
        const meta = this.#metaOf(secret);
        return meta !== 'absent' && meta.credentialName === name && meta.isSession !== true;
      })
      .map((secret) => splitKey(secret).name)
      .filter((secretName) => secretName !== named);
  }

  mergedSecrets(key: Key): readonly string[] {
    const { namespace, name } = splitKey(key);
    return [...this.#secrets.keys()]
      .filter((secret) => splitKey(secret).namespace === namespace)
      .filter((secret) => mergedBy(this.#secrets.get(secret)).includes(name))
      .map((secret) => splitKey(secret).name);
  }

  // Cluster

  async readSecretMeta(namespace: string, name: string): Promise<SecretMeta | 'absent' | Failure> {
    return this.#handle('readSecretMeta', name, () => {
      this.#unknown.delete(`${namespace}/${name}`);
      return this.#metaOf(`${namespace}/${name}`);
    });
  }

  async readSecret(namespace: string, name: string): Promise<SecretContents | 'absent' | Failure> {
    return this.#handle('readSecret', name, () => {
      const key = `${namespace}/${name}`;
      this.#unknown.delete(key);
      const found = this.#secrets.get(key);
      const meta = this.#metaOf(key);
      if (found === undefined || meta === 'absent') return 'absent';
      const data = Object.entries(found.data).map(
        ([name, value]) => [name, new Sensitive(value)] as const,
      );
      const { type, labels, annotations } = found;
      return { meta, type, labels, annotations, data: new Map(data) };
    });
  }

  async applySecret(desired: DesiredSecret): Promise<SecretMeta | Failure> {
    return this.#handle('applySecret', desired.name, () => this.#apply(desired));
  }

  async readClusterCredential(
    name: string,
  ): Promise<ClusterConvercusCredential | 'absent' | Failure> {
    return this.#handle('readClusterCredential', name, () => this.#clusters.get(name) ?? 'absent');
  }

  async applyClusterStatus(
    { metadata }: ClusterConvercusCredential,
    status: NonNullable<ClusterConvercusCredential['status']>,
  ): Promise<'written' | 'gone' | Failure> {
    return this.#handle('applyClusterStatus', metadata.name, () => {
      const current = this.#clusters.get(metadata.name);
      if (current === undefined || current.metadata.uid !== metadata.uid) return 'gone';
      this.putCluster({ ...current, status: JSON.parse(JSON.stringify(status)) });
      return 'written';
    });
  }

  async applyStatus(
    resource: CredentialResource,
    status: NonNullable<ConvercusCredential['status']>,
  ): Promise<'written' | 'gone' | Failure> {
    const { metadata } = resource;
    if (isInstance(resource)) {
      const current = this.#credentials.get(keyOf(metadata));
      if (current === undefined || !isSameInstance(current, resource)) return 'gone';
      this.put({ ...current, status });
      this.changed.add(`/${metadata.name}`);
      return 'written';
    }
    return this.#handle('applyStatus', metadata.name, () => {
      const current = this.#credentials.get(keyOf(metadata));
      if (current === undefined || current.metadata.uid !== metadata.uid) return 'gone';
      // What comes back from a server has been through JSON.
      this.put({ ...current, status: JSON.parse(JSON.stringify(status)) });
      return 'written';
    });
  }

  async deleteSecret({ namespace, name, uid }: SecretIdentity): Promise<Failure | undefined> {
    return this.#handle('deleteSecret', name, () => {
      const key = `${namespace}/${name}`;
      if (this.#secrets.get(key)?.uid === uid) this.#secrets.delete(key);
      return undefined;
    });
  }

  async readCredential(
    namespace: string,
    name: string,
  ): Promise<CredentialResource | 'absent' | Failure> {
    return this.#handle('readCredential', name, () => {
      const clusterName = clusterNameOf(name);
      const cluster = clusterName === undefined ? undefined : this.#clusters.get(clusterName);
      if (cluster !== undefined)
        return instanceIn(cluster, { name: namespace, isTerminating: false }, namespace);
      const key = `${namespace}/${name}`;
      return this.#credentials.get(key) ?? this.#others.get(key) ?? 'absent';
    });
  }

  async wholeCredential(
    cached: CredentialResource,
  ): Promise<CredentialResource | 'superseded' | Failure> {
    if (!this.omitsTargets) return cached;
    const { uid, generation, name } = cached.metadata;
    return this.#handle('readCredential', name, () => {
      const found = this.#credentials.get(keyOf(cached.metadata));
      const isSame = found?.metadata.uid === uid && found.metadata.generation === generation;
      return isSame ? { ...cached, spec: found.spec } : 'superseded';
    });
  }

  recordEvent({ metadata }: EventSubject, event: CredentialEvent): void {
    this.events.push({ about: keyOf(metadata), ...event });
  }

  async #handle<T>(call: Call, name: string, carryOut: () => T): Promise<T | Failure> {
    this.requests.push(`${call} ${name}`);
    await Promise.resolve();
    const outage = this.#outages.find((each) => each.call === call && each.holds());
    if (outage !== undefined) return outage.failure;
    const at = this.#failures.findIndex((planned) => planned.call === call);
    const [planned] = at < 0 ? [] : this.#failures.splice(at, 1);
    if (planned?.carriedOut !== false) {
      const result = carryOut();
      if (planned === undefined) return result;
    }
    return planned.failure;
  }

  #applyInstance(instance: CredentialResource): void {
    const key = keyOf(instance.metadata);
    const before = this.#credentials.get(key);
    const isSame = before !== undefined && isSameInstance(before, instance);
    this.put(isSame ? { ...instance, status: before.status ?? {} } : instance);
    this.changed.add(key);
  }

  #collectGarbageOf(uid: string): void {
    for (const [name, secret] of this.#secrets) {
      if (secret.controllerUid === uid) this.#secrets.delete(name);
    }
  }

  #apply(desired: DesiredSecret): SecretMeta | Failure {
    const key = `${desired.namespace}/${desired.name}`;
    const before = this.#secrets.get(key);
    const problem = problemWith(desired, before);
    this.#unknown.delete(key); // after a conflict the client reads the Secret
    if (problem !== undefined) return problem;
    const { type = 'Opaque', labels, annotations, owner } = desired;
    const values = Object.entries(desired.data).map(([name, value]) => [name, value.reveal()]);
    const managers = managersAfter(desired, before);
    const isLeft = (parent: string) => (name: string) =>
      before?.managers?.[`${parent}.${name}`] === undefined ||
      managers[`${parent}.${name}`] !== undefined;
    this.#secrets.set(key, {
      uid: before?.uid ?? `uid-${this.#next()}`,
      resourceVersion: this.#next(),
      type: before?.type ?? type,
      labels: { ...before?.labels, ...labels },
      annotations: { ...pick(before?.annotations, isLeft('annotations')), ...annotations },
      data: { ...pick(before?.data, isLeft('data')), ...Object.fromEntries(values) },
      managers,
      ...(owner !== undefined && { controllerUid: owner.uid }),
    });
    const meta = this.#metaOf(key);
    return meta === 'absent' ? OUTAGE : meta;
  }

  #metaOf(key: Key): SecretMeta | 'absent' {
    const found = this.#secrets.get(key);
    if (found === undefined) return 'absent';
    const { uid, resourceVersion, controllerUid, labels, annotations } = found;
    const isManaged = labels[MANAGED_BY_LABEL] === FIELD_MANAGER;
    const clusterName = labels[CLUSTER_CREDENTIAL_LABEL];
    const label = labels[CREDENTIAL_LABEL] ?? (clusterName && instanceNameOf(clusterName));
    const credentialName = isManaged ? label : undefined;
    const tokenAnnotations = parseTokenAnnotations(annotations, annotatedBy(found));
    const isLabelled = isManaged && labels[COMPONENT_LABEL] === SESSION_COMPONENT;
    const isSession = isLabelled && tokenAnnotations === undefined;
    const allowsMergeBy = annotations[MERGE_ANNOTATION];
    const mergers = mergedBy(found);
    return {
      uid,
      resourceVersion,
      ...(controllerUid !== undefined && { controllerUid }),
      ...(credentialName !== undefined && { credentialName }),
      ...(isSession && { isSession }),
      ...(tokenAnnotations !== undefined && { tokenAnnotations }),
      ...(allowsMergeBy !== undefined && { allowsMergeBy }),
      ...(mergers.length > 0 && { mergedBy: mergers }),
    };
  }

  #existing(key: Key): CredentialResource {
    const found = this.#credentials.get(key);
    if (found === undefined) throw new Error(`no credential ${key}`);
    return found;
  }

  #next(): string {
    this.#count += 1;
    return String(this.#count);
  }
}

export const OUTAGE = new Failure('ClusterUnavailable', 'No answer from the API server', {
  code: 'ECONNREFUSED',
});

const keyOf = ({ namespace, name }: EventSubject['metadata']): Key => `${namespace}/${name}`;

function problemWith(
  desired: DesiredSecret,
  before: StoredSecret | undefined,
): Failure | undefined {
  const isCreation = desired.type !== undefined && desired.uid === undefined;
  if (
    isCreation ? before !== undefined : desired.uid !== undefined && desired.uid !== before?.uid
  ) {
    return new Failure('ClusterUnavailable', `Secret "${desired.name}" has changed or gone`);
  }
  const { resourceVersion = before?.resourceVersion } = desired;
  if (resourceVersion !== before?.resourceVersion) {
    return new Failure('ClusterUnavailable', `Secret "${desired.name}" has changed or gone`);
  }
  const isForeign = desired.type !== undefined && (before?.type ?? desired.type) !== desired.type;
  if (isForeign) {
    const text = `Secret "${desired.name}" is not of the type ${desired.type}`;
    return new Failure('TargetNotOurs', text);
  }
  const managers = desired.force ? [] : rivalsIn(before, desired);
  if (managers.length === 0) return undefined;
  return new Failure('TargetNotOurs', 'Other field managers own fields', { managers });
}

/** The managers of fields that shall be set to another value. */
function rivalsIn(before: StoredSecret | undefined, desired: DesiredSecret): string[] {
  if (before === undefined) return [];
  const found = fieldsFound(before);
  return Object.entries(fieldsOf(desired)).flatMap(([field, value]) => {
    const others = ownersOf(before, field).filter((manager) => manager !== desired.fieldManager);
    return found[field] === value ? [] : others;
  });
}

const fieldsFound = ({ annotations, data }: StoredSecret): Record<string, string> => {
  const values = Object.entries(data).map(([key, value]) => [key, new Sensitive(value)]);
  return fieldsOf({ annotations, data: Object.fromEntries(values) });
};

const ownersOf = ({ managers }: Pick<StoredSecret, 'managers'>, field: string): string[] =>
  managers?.[field]?.split(' ') ?? [];

/** The manager has the fields that it applies, those that have the same value together with others; no other field. */
function managersAfter(
  desired: DesiredSecret,
  before: StoredSecret | undefined,
): Record<string, string> {
  const { fieldManager } = desired;
  const wanted = fieldsOf(desired);
  const found = before === undefined ? {} : fieldsFound(before);
  const fields = new Set([...Object.keys(before?.managers ?? {}), ...Object.keys(wanted)]);
  const entries = [...fields].map((field) => {
    const isWanted = field in wanted;
    const isKept = !isWanted || found[field] === wanted[field];
    const others = isKept && before !== undefined ? ownersOf(before, field) : [];
    const owners = others.filter((manager) => manager !== fieldManager);
    return [field, [...owners, ...(isWanted ? [fieldManager] : [])].join(' ')] as const;
  });
  return Object.fromEntries(entries.filter(([, owners]) => owners !== ''));
}

/** Annotations and keys by the names that `managers` has for them. */
const fieldsOf = ({
  annotations,
  data,
}: Pick<DesiredSecret, 'annotations' | 'data'>): Record<string, string> =>
  Object.fromEntries([
    ...Object.entries(annotations).map(([name, value]) => [`annotations.${name}`, value]),
    ...Object.entries(data).map(([key, value]) => [`data.${key}`, value.reveal()]),
  ]);

/** The credential whose manager has set the annotations of a token. */
const annotatedBy = ({ managers }: StoredSecret): string | undefined =>
  credentialOfManager(managers?.['annotations.convercus.io/content-hash'] ?? '');

/** The credentials whose managers have said that their fields go with them. */
const mergedBy = (secret: Pick<StoredSecret, 'managers'> = {}): string[] =>
  ownersOf(secret, `annotations.${DELETION_POLICY_ANNOTATION}`)
    .map((manager) => credentialOfManager(manager))
    .filter((name) => name !== undefined);

const pick = (
  map: Readonly<Record<string, string>> = {},
  isWanted: (name: string) => boolean,
): Record<string, string> =>
  Object.fromEntries(Object.entries(map).filter(([name]) => isWanted(name)));
