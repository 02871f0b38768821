import { ApiServer } from '../../dev/simulation/api-server.ts';
import { apiTransport } from '../../dev/simulation/api-transport.ts';
import { goodConditions } from '../../dev/simulation/conditions.ts';
import { Dice } from '../../dev/simulation/dice.ts';
import { API_VERSIONS, type Draft, type Kind } from '../../dev/simulation/objects.ts';
import { Replica, START } from '../../dev/simulation/replica.ts';
import { Scheduler } from '../../dev/simulation/scheduler.ts';
import { Trace } from '../../dev/simulation/trace.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { JSON_ONLY, METADATA, METADATA_LIST, pathOf } from '../../src/kubernetes/resources.ts';
import {
  type ApiRequest,
  type ApiResponse,
  createRestClient,
  type RestClient,
  type StreamRequest,
} from '../../src/kubernetes/rest-client.ts';
import { listAt, member, numberAt, objectOf, textAt, textsAt } from '../../src/lib/json.ts';
import { never } from '../support/streams.ts';

/**
 * Sends the same requests to a simulated and a real API server and compares the responses.
 *
 * Not compared, because the operator does not use it:
 * - texts of messages, but for the manager in a conflict (secrets.ts reads it);
 * - which 2xx a success has, and the body of the response to a DELETE (a Status for a Secret);
 * - values of uids and versions: only whether they have changed;
 * - times, and of managedFields `apiVersion`, `subresource` and who has a map itself (`.`, or an empty one): each of
 *   ours has other fields too;
 * - managedFields of credentials and Leases; defaults of the CRD in a spec;
 * - bookmarks: a real server sends the first after 60 s, as the simulated one, and none to a shorter watch;
 * - Leases in a namespace that is not there or goes: the operator's own is there for as long as it runs.
 */

/** One API server. */
export interface Side {
  readonly restClient: RestClient;
  makeNamespace(name: string): Promise<void>;
  /** Its objects stay: neither server has a namespace controller that would remove them. */
  endNamespace(name: string): Promise<void>;
  /** Creates or replaces an object, as people do. */
  edit(kind: Kind, draft: Named, manager: string): Promise<void>;
  /** Compacts the history: old versions are gone. */
  compact(): Promise<void>;
  close(): Promise<void>;
}

export type Named = Draft & { readonly metadata: { readonly name: string; namespace: string } };

export class RealSide implements Side {
  restClient: RestClient;
  readonly #open: () => RestClient;
  readonly #compact: () => Promise<void>;

  /** @param compact makes the API server forget old versions; connections may break */
  constructor(kubeconfigPath: string, compact: () => Promise<void>) {
    this.#open = () => createRestClient({ kubeconfigPath, userAgent: 'convercus-operator/test' });
    this.restClient = this.#open();
    this.#compact = compact;
  }

  async makeNamespace(name: string): Promise<void> {
    await this.#must({ method: 'POST', path: NAMESPACES, body: { metadata: { name } } });
  }

  async endNamespace(name: string): Promise<void> {
    await this.#must({ method: 'DELETE', path: `${NAMESPACES}/${name}` });
  }

  async edit(kind: Kind, draft: Named, fieldManager: string): Promise<void> {
    const { namespace, name } = draft.metadata;
    const body = objectOfKind(kind, draft);
    const found = await this.#request({ method: 'GET', path: path(kind, namespace, name) });
    const isThere = !(found instanceof ApiError);
    const way = isThere
      ? ({ method: 'PUT', path: path(kind, namespace, name) } as const)
      : ({ method: 'POST', path: path(kind, namespace) } as const);
    await this.#must({ ...way, query: { fieldManager }, body });
  }

  async compact(): Promise<void> {
    await this.restClient.close();
    await this.#compact();
    this.restClient = this.#open();
  }

  close(): Promise<void> {
    return this.restClient.close();
  }

  #request(request: Omit<ApiRequest, 'signal'>): Promise<ApiResponse | ApiError> {
    return this.restClient.request({ ...request, signal: never });
  }

  async #must(request: Omit<ApiRequest, 'signal'>): Promise<void> {
    const response = await this.#request(request);
    if (response instanceof ApiError) throw response;
  }
}

const NAMESPACES = '/api/v1/namespaces';

/** The simulated server behind a network without faults. */
export class SimulatedSide implements Side {
  readonly restClient: RestClient;
  readonly #server: ApiServer;
  readonly #scheduler: Scheduler;

  constructor() {
    const dice = new Dice('one');
    const scheduler = new Scheduler(dice);
    let uids = 0;
    const server = new ApiServer(
      () => START + scheduler.now,
      () => `uid-${(uids += 1)}`,
    );
    const replica = new Replica('replica', { scheduler, dice, release: 'one' });
    const watches = new Set<{ offer(change: unknown): void; cut(): void }>();
    const inner = apiTransport(replica, {
      scheduler,
      dice,
      conditions: goodConditions(),
      server,
      trace: new Trace(() => scheduler.now, false),
      watches,
      onRequest: () => () => undefined,
    });
    server.observe((change) => {
      for (const watch of watches) watch.offer(change);
    });
    this.#server = server;
    this.#scheduler = scheduler;
    this.restClient = {
      request: (request) => this.#untilDone(inner.request(request)),
      stream: (request) => this.#driven(inner, request),
      close: () => Promise.resolve(),
    };
  }

  makeNamespace(name: string): Promise<void> {
    this.#server.namespaces.set(name, 'active');
    return Promise.resolve();
  }

  endNamespace(name: string): Promise<void> {
    this.#server.namespaces.set(name, 'terminating');
    return Promise.resolve();
  }

  edit(kind: Kind, draft: Named, manager: string): Promise<void> {
    this.#server.put(kind, draft, manager);
    return Promise.resolve();
  }

  compact(): Promise<void> {
    this.#server.compact();
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async *#driven(inner: RestClient, request: StreamRequest): AsyncGenerator {
    const lines = inner.stream(request)[Symbol.asyncIterator]();
    for (;;) {
      const { value, done } = await this.#untilDone(lines.next());
      if (done === true) return;
      yield value;
    }
  }

  /** Advances virtual time to then. */
  async #untilDone<T>(promise: Promise<T>): Promise<T> {
    const seen = { isDone: false };
    const end = (): void => {
      seen.isDone = true;
    };
    promise.then(end, end);
    for (let turns = 0; !seen.isDone && turns < 10_000; turns += 1) {
      await this.#scheduler.runUntil(this.#scheduler.now + 10);
    }
    return promise;
  }
}

const RESOURCES = {
  secrets: { apiVersion: 'v1', plural: 'secrets' },
  convercuscredentials: { apiVersion: 'convercus.io/v1alpha1', plural: 'convercuscredentials' },
  clusterconvercuscredentials: {
    apiVersion: 'convercus.io/v1alpha1',
    plural: 'clusterconvercuscredentials',
  },
  namespaces: { apiVersion: 'v1', plural: 'namespaces' },
  leases: { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' },
  events: { apiVersion: 'events.k8s.io/v1', plural: 'events' },
} as const satisfies Record<Kind, object>;

export const path = (kind: Kind, namespace?: string, ...name: readonly string[]): string =>
  pathOf(RESOURCES[kind], namespace, ...name);

export function objectOfKind(kind: Kind, draft: Draft): Record<string, unknown> {
  const [apiVersion, name] = API_VERSIONS[kind];
  return { apiVersion, kind: name, ...draft };
}

interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** An object as it was last read. */
interface Look {
  readonly uid: string;
  readonly version: string;
  readonly body: unknown;
}

/** Requests in one namespace, with what is compared. */
export class Play {
  readonly namespace: string;
  readonly side: Side;
  /** `ok`, or code and reason, of each request in turn. */
  readonly outcomes: string[] = [];
  readonly seen: unknown[] = [];
  readonly #looks = new Map<string, Look>();

  constructor(side: Side, namespace: string) {
    this.side = side;
    this.namespace = namespace;
  }

  // Requests

  async post(kind: Kind, { metadata, ...draft }: Draft, fieldManager = 'ours'): Promise<void> {
    const body = objectOfKind(kind, { ...draft, metadata: this.#withTimeout(metadata) });
    const request = { method: 'POST', path: path(kind, this.namespace), body } as const;
    await this.#send(kind, metadata.name, { ...request, query: { fieldManager } });
  }

  async put(kind: Kind, { metadata, ...draft }: Draft, fieldManager = 'ours'): Promise<void> {
    const body = objectOfKind(kind, { ...draft, metadata: this.#withTimeout(metadata) });
    const request = { method: 'PUT', path: this.#path(kind, metadata.name), body } as const;
    await this.#send(kind, metadata.name, { ...request, query: { fieldManager } });
  }

  async apply(
    { metadata, ...draft }: Draft,
    { manager = 'ours', force = false }: { manager?: string; force?: boolean } = {},
  ): Promise<void> {
    const body = objectOfKind('secrets', { ...draft, metadata: this.#withTimeout(metadata) });
    await this.#send('secrets', metadata.name, {
      method: 'PATCH',
      path: this.#path('secrets', metadata.name),
      query: { fieldManager: manager, force: String(force) },
      contentType: 'application/apply-patch+yaml',
      body,
    });
  }

  async remove(kind: Kind, name: string, preconditions?: Preconditions): Promise<void> {
    const options = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions };
    const body = preconditions === undefined ? {} : { body: options };
    await this.#send(kind, name, { method: 'DELETE', path: this.#path(kind, name), ...body });
  }

  /** Its outcome alone. */
  async tell(request: Omit<ApiRequest, 'signal'>): Promise<void> {
    const response = await this.side.restClient.request({ ...request, signal: never });
    this.#keepOutcome(response);
    this.seen.push(response instanceof ApiError ? refusalIn(response) : 'ok');
  }

  /** Runs another play in this one. */
  take({ outcomes, seen }: Play): void {
    this.outcomes.push(...outcomes);
    this.seen.push(...seen);
  }

  /** A request that a function of the operator created. */
  async send(kind: Kind, name: string, request: ApiRequest): Promise<void> {
    await this.#send(kind, name, request);
  }

  /** People change an object with an editor: they get it and put it back whole. */
  async edit(kind: Kind, name: string, change: (draft: Draft) => Draft): Promise<void> {
    const { body } = await this.#look(kind, name);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a server stores
    const { metadata, ...rest } = change(body as Draft);
    await this.side.edit(kind, { ...rest, metadata: this.#withTimeout(metadata) }, 'kubectl-edit');
    await this.note(kind, name, 'edit');
  }

  async list(
    kind: Kind,
    query: Readonly<Record<string, string>>,
    namespace: string | undefined = this.namespace,
  ): Promise<string | undefined> {
    const accept = kind === 'secrets' ? METADATA_LIST : JSON_ONLY;
    const request = { method: 'GET', path: path(kind, namespace), query, accept } as const;
    const response = await this.side.restClient.request({ ...request, signal: never });
    this.#keepOutcome(response);
    if (response instanceof ApiError) {
      this.seen.push({ list: kind, response: refusalIn(response) });
      return undefined;
    }
    const next = textAt(response.body, 'metadata', 'continue') ?? '';
    const items = listAt(response.body, 'items').map((item) => ({
      name: textAt(item, 'metadata', 'name'),
      labels: textsAt(item, 'metadata', 'labels'),
      members: accept === METADATA_LIST ? membersIn(item) : [],
    }));
    this.seen.push({ list: kind, items, hasMore: next !== '' });
    return next === '' ? undefined : next;
  }

  /**
   * The lines of a watch.
   * @param count after so many it is left, however busy the machine is; without it, when the server ends it
   */
  async watch(
    kind: Kind,
    from: string,
    { query = {}, count }: { query?: Readonly<Record<string, string>>; count?: number } = {},
  ) {
    const versions: number[] = [];
    const events: unknown[] = [];
    try {
      const lines = this.side.restClient.stream({
        method: 'GET',
        path: path(kind, this.namespace),
        query: {
          watch: '1',
          allowWatchBookmarks: 'true',
          resourceVersion: from,
          timeoutSeconds: count === undefined ? '3' : '60',
          ...query,
        },
        accept: kind === 'secrets' ? METADATA : JSON_ONLY,
        signal: never,
      });
      for await (const line of lines) {
        const [type, object] = [textAt(line, 'type'), member(line, 'object')];
        versions.push(Number(textAt(object, 'metadata', 'resourceVersion') ?? Infinity));
        if (type === 'ERROR') {
          const { code, reason } = objectOf(object);
          events.push({ type, code, reason });
        } else events.push(eventFrom(type, object));
        if (events.length === count) break;
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      events.push({ type: 'ERROR', code: error.code, reason: error.reason });
    }
    const isInOrder = versions.every((version, at) => at === 0 || version >= versions[at - 1]!);
    this.seen.push({ watch: kind, events, isInOrder });
    this.outcomes.push(events.map((event) => textAt(event, 'type')).join(' '));
  }

  // The object as it was last read

  uid(kind: Kind, name: string): string {
    return this.#known(kind, name).uid;
  }

  version(kind: Kind, name: string): string {
    return this.#known(kind, name).version;
  }

  /** The object as a GET returned it, for a function of the operator. */
  body(kind: Kind, name: string): unknown {
    return this.#known(kind, name).body;
  }

  /** Reads the object and keeps what is compared. */
  async note(kind: Kind, name: string, what: string): Promise<void> {
    this.seen.push({ what, kind, name, ...(await this.#compared(kind, name)) });
  }

  #known(kind: Kind, name: string): Look {
    const look = this.#looks.get(`${kind}/${name}`);
    if (look === undefined) throw new Error(`${kind}/${name} was never there`);
    return look;
  }

  #withTimeout<T extends Draft['metadata']>(metadata: T): T & { name: string; namespace: string } {
    const { name = '' } = metadata;
    return { ...metadata, name, namespace: this.namespace };
  }

  #path(kind: Kind, name = ''): string {
    return path(kind, this.namespace, name);
  }

  async #send(kind: Kind, name = '', request: Omit<ApiRequest, 'signal'>): Promise<void> {
    const response = await this.side.restClient.request({ ...request, signal: never });
    this.#keepOutcome(response);
    const state = await this.#compared(kind, name);
    this.seen.push({
      request: `${request.method} ${kind}/${name}`,
      response: response instanceof ApiError ? refusalIn(response) : 'ok',
      ...state,
      ...(response instanceof ApiError || request.method === 'DELETE'
        ? {}
        : { isAnswerStored: this.#isStored(kind, name, response) }),
    });
  }

  #keepOutcome(response: ApiResponse | ApiError): void {
    this.outcomes.push(response instanceof ApiError ? `${response.code} ${response.reason}` : 'ok');
  }

  /** Checks that the response to a write has the version and uid of the stored object. */
  #isStored(kind: Kind, name: string, { body }: ApiResponse): boolean {
    const { uid, version } = this.#known(kind, name);
    const told = textAt(body, 'metadata', 'resourceVersion');
    return textAt(body, 'metadata', 'uid') === uid && told === version;
  }

  async #get(kind: Kind, name: string): Promise<ApiResponse | ApiError> {
    const request = { method: 'GET', path: this.#path(kind, name), signal: never } as const;
    return this.side.restClient.request(request);
  }

  async #look(kind: Kind, name: string): Promise<ApiResponse> {
    const response = await this.#get(kind, name);
    if (response instanceof ApiError) throw response;
    return response;
  }

  async #compared(kind: Kind, name: string): Promise<object> {
    const before = this.#looks.get(`${kind}/${name}`);
    const response = await this.#get(kind, name);
    if (response instanceof ApiError) {
      return { stored: response.code === 404 ? 'nothing' : refusalIn(response) };
    }
    const { body } = response;
    const uid = textAt(body, 'metadata', 'uid') ?? '';
    const version = textAt(body, 'metadata', 'resourceVersion') ?? '';
    this.#looks.set(`${kind}/${name}`, { uid, version, body });
    return {
      isAnotherObject: before !== undefined && before.uid !== uid,
      isAnotherVersion: before !== undefined && before.version !== version,
      stored: storedIn(kind, body),
    };
  }
}

const eventFrom = (type: string | undefined, object: unknown): object => ({
  type,
  name: textAt(object, 'metadata', 'name'),
  labels: textsAt(object, 'metadata', 'labels'),
  annotations: textsAt(object, 'metadata', 'annotations'),
  isWhole: textAt(object, 'metadata', 'uid') !== undefined,
  members: membersIn(object),
});

const membersIn = (object: unknown): string[] =>
  Object.keys(objectOf(object))
    .filter((name) => !['apiVersion', 'kind', 'spec', 'status'].includes(name))
    .sort();

function refusalIn({ code, reason, causes }: ApiError): object {
  const shown = causes.map(({ field, reason, detail }) => ({
    field,
    reason,
    manager: /conflict with "([^"]+)"/.exec(detail.reveal())?.[1],
  }));
  const inOrder = shown.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  return { code, reason, causes: inOrder };
}

function storedIn(kind: Kind, body: unknown): object {
  const common = {
    labels: textsAt(body, 'metadata', 'labels'),
    annotations: textsAt(body, 'metadata', 'annotations'),
    owners: listAt(body, 'metadata', 'ownerReferences'),
  };
  if (kind === 'leases') return { ...common, spec: member(body, 'spec') };
  if (kind === 'convercuscredentials') {
    const generation = numberAt(body, 'metadata', 'generation');
    return { ...common, generation, status: member(body, 'status') };
  }
  const managed = listAt(body, 'metadata', 'managedFields');
  return {
    ...common,
    type: textAt(body, 'type'),
    data: textsAt(body, 'data'),
    setters: managed
      .filter((entry) => ownedIn(entry).length > 0)
      .map(setterIn)
      .sort(),
    owned: managed.flatMap(ownedIn).sort(),
  };
}

const setterIn = (entry: unknown): string =>
  `${textAt(entry, 'manager')} by ${textAt(entry, 'operation')}`;

const ownedIn = (entry: unknown): string[] =>
  leavesOf(member(entry, 'fieldsV1')).map((field) => `${setterIn(entry)}: ${field}`);

/** List items are `k:{"uid":"…"}` at the real server. */
function leavesOf(fields: unknown, parent = ''): string[] {
  return Object.entries(objectOf(fields))
    .filter(([name]) => name !== '.')
    .flatMap(([name, inner]) => {
      const [, uid] = /^k:\{"uid":"(.*)"\}$/.exec(name) ?? [];
      const whole = `${parent}${uid === undefined ? name : `f:${uid}`}`;
      const leaves = leavesOf(inner, `${whole} `);
      return leaves.length > 0 || MAPS.has(whole) ? leaves : [whole];
    });
}

const MAPS = new Set([
  'f:data',
  'f:metadata',
  'f:metadata f:labels',
  'f:metadata f:annotations',
  'f:metadata f:ownerReferences',
]);
