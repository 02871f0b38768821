import { member, objectOf, textAt } from '../../src/lib/json.ts';
import type { EpochMs } from '../../src/lib/time.ts';
import { applied, type Conflict, updated } from './field-ownership.ts';
import {
  API_VERSIONS,
  type Draft,
  isClusterScoped,
  KINDS,
  type Kind,
  keyOf,
  type ManagedFieldsEntry,
  type ObjectMeta,
  type StoredObject,
} from './objects.ts';

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
}

/** An object, a page of a list, or an error as a meta/v1 Status. */
export type Reply =
  | { readonly object: StoredObject }
  | { readonly page: Page }
  | { readonly refusal: TokenFailure };

export interface Page {
  readonly items: readonly StoredObject[];
  readonly resourceVersion: string;
  readonly continue?: string;
}

export interface TokenFailure {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly causes: readonly {
    readonly reason?: string;
    readonly field?: string;
    readonly message?: string;
  }[];
}

/** A change, for watches and observers. */
export interface Change {
  readonly version: number;
  readonly kind: Kind;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** The new state; for a deleted object its last state, with the version of the deletion. */
  readonly object: StoredObject;
  readonly before: StoredObject | undefined;
  /** The author: a field manager, `people` or `garbage collector`. */
  readonly by: string;
  /** The body of the request, if there was one. */
  readonly request?: Request;
}

/** The resource that the path of a request names. */
export interface Target {
  readonly kind: Kind;
  /** Absent: all namespaces. */
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

const PATH =
  /^\/apis?\/(?:[\w.]+\/)?v\w+(?:\/namespaces\/([^/]+))?\/(secrets|convercuscredentials|clusterconvercuscredentials|namespaces|leases|events)(?:\/([^/]+))?(?:\/(status))?$/;

/** @throws for a path that the operator does not use */
export function targetOf(path: string): Target {
  const [, namespace, plural, name, subresource] = PATH.exec(path) ?? [];
  const kind = KINDS.find((known) => known === plural);
  if (kind === undefined) throw new Error(`no such path: ${path}`);
  return {
    kind,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

/** A failed request; `handle` turns it into a response. */
class Refused extends Error {
  readonly refusal: TokenFailure;

  constructor(code: number, reason: string, causes: TokenFailure['causes'] = [], message = reason) {
    super(reason);
    this.refusal = { code, reason, message, causes };
  }
}

const CONFLICT = (): Refused => new Refused(409, 'Conflict');

/** The preconditions of an update, as in registry/generic/registry/store.go: an absent field is none. */
function checkPreconditions({ uid, resourceVersion }: Draft['metadata'], stored: ObjectMeta): void {
  const isOther = (wanted: string | undefined, found: string): boolean =>
    wanted !== undefined && wanted !== found;
  if (isOther(uid, stored.uid) || isOther(resourceVersion, stored.resourceVersion))
    throw CONFLICT();
}

type Objects = Map<string, StoredObject>;

interface Snapshot {
  readonly version: number;
  readonly objects: Readonly<Record<Kind, Objects>>;
}

/**
 * The state of a kube-apiserver and its responses to requests, without time and network: versions, preconditions,
 * server-side apply, immutable types, status, paged lists, history for watches, namespaces that are deleted.
 * test/dev/simulated-api-server.test.ts compares it to a real one.
 */
export class ApiServer {
  readonly #clock: () => EpochMs;
  readonly #uid: () => string;
  #objects: Record<Kind, Objects>;
  #version = 1_000;
  #history: Change[] = [];
  /** Watches from an older version get status 410. */
  #oldest = 1_000;
  readonly #pages = new Map<
    string,
    { readonly items: readonly StoredObject[]; readonly version: string }
  >();
  #pageCount = 0;
  readonly namespaces = new Map<string, 'active' | 'terminating'>();
  /** Namespaces in which the operator's account has no permissions. */
  readonly forbidden = new Set<string>();
  /** The account may not write statuses. */
  statusForbidden = false;
  /** Maximum page size: a server may send fewer objects than requested. */
  readonly #longestPage: number;
  readonly #observers: ((change: Change) => void)[] = [];
  /** The current request. */
  #request: Request | undefined;

  constructor(clock: () => EpochMs, uid: () => string, longestPage = Infinity) {
    this.#clock = clock;
    this.#uid = uid;
    this.#longestPage = longestPage;
    this.#objects = {
      secrets: new Map(),
      convercuscredentials: new Map(),
      clusterconvercuscredentials: new Map(),
      namespaces: new Map(),
      leases: new Map(),
      events: new Map(),
    };
  }

  get version(): number {
    return this.#version;
  }

  get oldest(): number {
    return this.#oldest;
  }

  all(kind: Kind): Iterable<StoredObject> {
    return this.#objects[kind].values();
  }

  get(kind: Kind, key: string): StoredObject | undefined {
    return this.#objects[kind].get(key);
  }

  observe(observer: (change: Change) => void): void {
    this.#observers.push(observer);
  }

  /** Changes of that kind after a version; undefined when they are no longer known (410). */
  changesAfter(version: number, kind: Kind): readonly Change[] | undefined {
    if (version < this.#oldest) return undefined;
    return this.#history.filter((change) => change.kind === kind && change.version > version);
  }

  /** Drops the history, like etcd's compaction, and the snapshots of paged lists. */
  compact(): void {
    this.#oldest = this.#version;
    this.#history = [];
    this.#pages.clear();
  }

  snapshot(): Snapshot {
    const objects = { ...this.#objects };
    for (const kind of KINDS) objects[kind] = new Map(objects[kind]);
    return { version: this.#version, objects };
  }

  /**
   * Restores the state of a backup of etcd.
   * @param isBumped versions continue after all earlier ones (`etcdutl snapshot restore --bump-revision
   *   --mark-compacted`), so that watches get 410; else they are those of the backup
   */
  restore({ version, objects }: Snapshot, isBumped: boolean): void {
    this.#objects = { ...objects };
    this.#version = isBumped ? Math.max(this.#version, version) + BUMP : version;
    this.compact();
  }

  /** A request of the operator, subject to its permissions. */
  handle(request: Request): Reply {
    const target = targetOf(request.path);
    this.#request = request;
    try {
      this.#checkPermission(request, target);
      if (request.method !== 'GET') return { object: this.#write(request, target) };
      if (target.name === undefined) return { page: this.#list(request, target) };
      return { object: this.#existing(target) };
    } catch (error) {
      if (error instanceof Refused) return { refusal: error.refusal };
      throw error;
    } finally {
      this.#request = undefined;
    }
  }

  // Changes by people and by other controllers

  /** Creates or replaces an object as `manager`. Does nothing if the namespace is absent or being deleted. */
  put(
    kind: Kind,
    draft: Draft & { metadata: { name: string; namespace: string } },
    manager: string,
  ): void {
    const isActive = this.namespaces.get(draft.metadata.namespace) === 'active';
    if (!isActive && !isClusterScoped(kind)) return;
    const before = this.get(kind, keyOf(draft.metadata));
    const fields: Partial<Draft> = kind === 'secrets' ? updated(before, draft, manager) : {};
    const isCredential = isCredentialKind(kind);
    const generation = isCredential ? { generation: generationAfter(before, draft.spec) } : {};
    const status = isCredential ? { status: before?.status ?? NO_STATUS } : {};
    const metadata = {
      ...(fields.metadata ?? draft.metadata),
      ...generation,
      ...(before === undefined ? {} : { uid: before.metadata.uid }),
    };
    this.#store(kind, before, { ...draft, ...fields, ...status, metadata }, manager);
  }

  remove(kind: Kind, key: string, by: string): void {
    const before = this.get(kind, key);
    if (before !== undefined) this.#drop(kind, before, by);
  }

  #checkPermission({ method }: Request, { kind, namespace = '', subresource }: Target): void {
    if (kind === 'leases') return;
    if (subresource === 'status' && this.statusForbidden) {
      throw new Refused(403, 'Forbidden', [], 'User "operator" cannot update resource "status"');
    }
    const isWhole = namespace === '' && this.forbidden.has('*');
    if (!isWhole && !this.forbidden.has(namespace)) return;
    const verb = method === 'GET' ? 'list' : 'update';
    throw new Refused(
      403,
      'Forbidden',
      [],
      `${kind} is forbidden: User "operator" cannot ${verb} resource "${kind}"`,
    );
  }

  #existing(target: Target): StoredObject {
    const found = this.get(target.kind, keyIn(target));
    if (found === undefined) throw new Refused(404, 'NotFound');
    return found;
  }

  #list({ query = {} }: Request, { kind, namespace }: Target): Page {
    const limit = Math.min(Number(query['limit'] ?? Infinity), this.#longestPage);
    const token = query['continue'];
    const known = token === undefined ? undefined : this.#pages.get(token);
    if (token !== undefined && known === undefined) throw new Refused(410, 'Expired');
    const matches = matcher(query['labelSelector']);
    const items =
      known?.items ??
      [...this.all(kind)]
        .filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace)
        .filter(matches)
        .sort((a, b) => (keyOf(a.metadata) < keyOf(b.metadata) ? -1 : 1));
    const version = known?.version ?? String(this.#version);
    const rest = items.slice(limit);
    if (rest.length === 0) return { items, resourceVersion: version };
    this.#pageCount += 1;
    const next = `page-${this.#pageCount}`;
    this.#pages.set(next, { items: rest, version });
    return { items: items.slice(0, limit), resourceVersion: version, continue: next };
  }

  #write(request: Request, target: Target): StoredObject {
    switch (request.method) {
      case 'POST':
        return this.#create(request, target);
      case 'PUT':
        return target.subresource === 'status'
          ? this.#putStatus(request, target)
          : this.#replace(request, target);
      case 'PATCH':
        return this.#patch(request, target);
      case 'DELETE':
        return this.#delete(request, target);
      default:
        throw new Refused(405, 'MethodNotAllowed');
    }
  }

  #patch(request: Request, target: Target): StoredObject {
    if (target.subresource === 'status') return this.#patchStatus(request, target);
    return request.contentType?.includes('apply') === true
      ? this.#apply(request, target)
      : this.#mergePatch(request, target);
  }

  #create({ body, query = {} }: Request, { kind, namespace = '' }: Target): StoredObject {
    const draft = { ...(kind === 'secrets' && { type: 'Opaque' }), ...draftIn(body) };
    this.#checkNamespace(kind, namespace);
    if (draft.metadata.resourceVersion !== undefined) throw new Refused(500, '');
    if (kind === 'events')
      return { ...emptyObject(kind), ...draft, metadata: { ...emptyMeta, namespace } };
    const name = draft.metadata.name ?? '';
    if (this.get(kind, keyOf({ namespace, name })) !== undefined)
      throw new Refused(409, 'AlreadyExists');
    const manager = query['fieldManager'] ?? 'unknown';
    const fields: Partial<Draft> = kind === 'secrets' ? updated(undefined, draft, manager) : {};
    const metadata = { ...(fields.metadata ?? draft.metadata), name, namespace };
    if (kind === 'secrets') validate({ ...draft, metadata }, undefined);
    return this.#store(kind, undefined, { ...draft, ...fields, metadata }, manager);
  }

  #replace(request: Request, target: Target): StoredObject {
    const { body, query = {} } = request;
    // AllowCreateOnUpdate, whatever the version
    const isCreated = target.kind === 'leases' && this.get('leases', keyIn(target)) === undefined;
    if (isCreated) {
      const { resourceVersion: _, ...metadata } = draftIn(body).metadata;
      return this.#create({ ...request, body: { ...draftIn(body), metadata } }, target);
    }
    const draft = { ...(target.kind === 'secrets' && { type: 'Opaque' }), ...draftIn(body) };
    const before = this.#existing(target);
    checkPreconditions(draft.metadata, before.metadata);
    const manager = query['fieldManager'] ?? 'unknown';
    const fields: Partial<Draft> = target.kind === 'secrets' ? updated(before, draft, manager) : {};
    const metadata = fields.metadata ?? before.metadata;
    if (target.kind === 'secrets') validate({ ...draft, metadata }, before);
    return this.#store(target.kind, before, { ...draft, ...fields, metadata }, manager);
  }

  #apply({ body, query = {} }: Request, target: Target): StoredObject {
    const { kind, namespace = '', name = '' } = target;
    const draft = draftIn(body);
    const before = this.get(kind, keyIn(target));
    const { uid, resourceVersion } = draft.metadata;
    const manager = query['fieldManager'] ?? 'unknown';
    if (before === undefined) {
      if (uid !== undefined) throw CONFLICT();
      this.#checkNamespace(kind, namespace);
      const metadata = { ...emptyMeta, namespace, name };
      const empty = { ...emptyObject(kind), type: draft.type ?? 'Opaque', metadata };
      const made = applied(empty, draft, { manager, force: true });
      if (isConflict(made)) throw new Error('forced');
      validate(made, undefined);
      return this.#store(kind, undefined, { ...empty, ...made }, manager);
    }
    const made = applied(before, draft, { manager, force: query['force'] === 'true' });
    if (isConflict(made)) throw conflictRefusal(made);
    checkPreconditions(
      { ...(resourceVersion !== undefined && { resourceVersion }) },
      before.metadata,
    );
    const metadata = { ...made.metadata, ...(uid !== undefined && { uid }) };
    validate({ ...made, metadata }, before);
    return this.#store(kind, before, { ...before, ...made }, manager);
  }

  /** A merge patch of metadata, the only one that the operator sends. */
  #mergePatch({ body, query = {} }: Request, target: Target): StoredObject {
    const { metadata } = draftIn(body);
    const before = this.#existing(target);
    const { resourceVersion } = metadata;
    if (resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion)
      throw CONFLICT();
    const managedFields: readonly ManagedFieldsEntry[] =
      metadata.managedFields ?? before.metadata.managedFields ?? [];
    const after = { ...before, metadata: { ...before.metadata, managedFields } };
    return this.#store(target.kind, before, after, query['fieldManager'] ?? 'unknown');
  }

  #putStatus({ body, query = {} }: Request, target: Target): StoredObject {
    const { metadata, status = NO_STATUS } = draftIn(body);
    const before = this.#existing(target);
    checkPreconditions(metadata, before.metadata);
    const after = { ...before, status };
    return this.#store(target.kind, before, after, query['fieldManager'] ?? 'unknown');
  }

  /** The JSON patch that the operator sends. */
  #patchStatus({ body, query = {} }: Request, target: Target): StoredObject {
    const before = this.#existing(target);
    const values = valuesIn(body);
    if (values.get('test /metadata/uid') !== before.metadata.uid) throw new Refused(422, 'Invalid');
    const after = { ...before, status: { ...objectOf(values.get('add /status')) } };
    return this.#store(target.kind, before, after, query['fieldManager'] ?? 'unknown');
  }

  #delete({ body }: Request, target: Target): StoredObject {
    const before = this.#existing(target);
    checkPreconditions(objectOf(member(body, 'preconditions')), before.metadata);
    return this.#drop(target.kind, before, 'operator');
  }

  #checkNamespace(kind: Kind, namespace: string): void {
    if (kind === 'leases') return;
    const state = this.namespaces.get(namespace);
    if (state === undefined) throw new Refused(404, 'NotFound');
    if (state === 'terminating') {
      throw new Refused(403, 'Forbidden', [
        { reason: 'NamespaceTerminating', field: 'metadata.namespace' },
      ]);
    }
  }

  /** A write that changes nothing stores nothing, as in etcd3/store.go. */
  #store(kind: Kind, before: StoredObject | undefined, draft: Draft, by: string): StoredObject {
    if (kind !== 'leases' && before !== undefined && isSame(before, draft)) return before;
    const metadata = {
      ...emptyMeta,
      ...draft.metadata,
      uid: before?.metadata.uid ?? this.#uid(),
      creationTimestamp: before?.metadata.creationTimestamp ?? timestamp(this.#clock()),
      resourceVersion: this.#nextVersion(),
    };
    const [apiVersion, name] = API_VERSIONS[kind];
    const object: StoredObject = { ...draft, apiVersion, kind: name, metadata };
    this.#objects[kind].set(keyOf(metadata), object);
    this.#record({ kind, type: before === undefined ? 'ADDED' : 'MODIFIED', object, before, by });
    return object;
  }

  #drop(kind: Kind, before: StoredObject, by: string): StoredObject {
    this.#objects[kind].delete(keyOf(before.metadata));
    const metadata = { ...before.metadata, resourceVersion: this.#nextVersion() };
    const object = { ...before, metadata };
    this.#record({ kind, type: 'DELETED', object, before, by });
    return object;
  }

  #record(change: Omit<Change, 'version'>): void {
    const request = this.#request;
    const whole = { ...change, version: this.#version, ...(request && { request }) };
    if (change.kind !== 'leases') this.#history.push(whole);
    for (const observer of this.#observers) observer(whole);
  }

  #nextVersion(): string {
    this.#version += 1;
    return String(this.#version);
  }
}

const BUMP = 1_000_000;

const keyIn = ({ namespace = '', name = '' }: Target): string => keyOf({ namespace, name });

const emptyMeta: ObjectMeta = { name: '', namespace: '', uid: '', resourceVersion: '' };

function emptyObject(kind: Kind): StoredObject {
  const [apiVersion, name] = API_VERSIONS[kind];
  return { apiVersion, kind: name, metadata: emptyMeta };
}

/** The values of a JSON patch (RFC 6902) by operation and path. */
export function valuesIn(body: unknown): Map<string, unknown> {
  const operations: readonly unknown[] = Array.isArray(body) ? body : [];
  return new Map(
    operations.map((operation) => [
      `${textAt(operation, 'op')} ${textAt(operation, 'path')}`,
      member(operation, 'value'),
    ]),
  );
}

/** A copy by JSON, as of a request body. */
function draftIn(body: unknown): Draft {
  const draft: Partial<Draft> = objectOf(body);
  return { ...draft, metadata: draft.metadata ?? {} };
}

const isConflict = (made: object): made is readonly Conflict[] => Array.isArray(made);

/** Checks a Secret before it is stored. @throws Refused with all errors */
function validate({ type, metadata }: Draft, before: StoredObject | undefined): void {
  const controllers = (metadata.ownerReferences ?? []).filter(({ controller }) => controller);
  const wrong = {
    'metadata.uid': before !== undefined && metadata.uid !== before.metadata.uid,
    'metadata.ownerReferences': controllers.length > 1,
    type: before !== undefined && type !== before.type,
  };
  const causes = Object.entries(wrong)
    .filter(([, isWrong]) => isWrong)
    .map(([field]) => ({ reason: 'FieldValueInvalid', field }));
  if (causes.length > 0) throw new Refused(422, 'Invalid', causes);
}

const isCredentialKind = (kind: Kind): boolean =>
  kind === 'convercuscredentials' || kind === 'clusterconvercuscredentials';

/** The default of the CRD. */
const NO_STATUS = { observedGeneration: -1 };

const conflictRefusal = (conflicts: readonly Conflict[]): Refused =>
  new Refused(
    409,
    'Conflict',
    conflicts.map(({ path, manager }) => ({
      reason: 'FieldManagerConflict',
      field: path.replaceAll(/(?:^|\|)f:/g, '.'),
      message: `conflict with "${manager}" using v1`,
    })),
  );

const generationAfter = (before: StoredObject | undefined, spec: StoredObject['spec']): number =>
  (before?.metadata.generation ?? 0) +
  Number(before === undefined || JSON.stringify(before.spec) !== JSON.stringify(spec));

const timestamp = (at: EpochMs): string => `${new Date(at).toISOString().slice(0, 19)}Z`;

/** Equal without versions. */
function isSame(before: StoredObject, draft: Draft): boolean {
  const text = ({ metadata, ...rest }: Draft): string => {
    const { resourceVersion: _, uid: __, creationTimestamp: ___, ...meta } = metadata;
    return JSON.stringify(sorted({ ...rest, meta }));
  };
  const { apiVersion, kind } = before;
  return text(before) === text({ ...draft, apiVersion, kind });
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => [name, sorted(inner)]),
  );
}

/** Label selectors of the form `a=b,c=d`. */
export function matcher(selector = ''): (object: StoredObject) => boolean {
  const wanted = selector
    .split(',')
    .filter((part) => part !== '')
    .map((part) => part.split('='));
  return ({ metadata }) => wanted.every(([name = '', value]) => metadata.labels?.[name] === value);
}
