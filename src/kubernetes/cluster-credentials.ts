import { isDeepStrictEqual } from 'node:util';
import type { ConvercusCredential } from '../credential/api.ts';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { clusterKeyOf, instanceKeyOf } from '../credential/cluster-name.ts';
import {
  type CredentialResource,
  instanceIn,
  type NamespaceMeta,
  selects,
} from '../credential/instance.ts';
import type { Key } from '../lib/key.ts';
import type { EventHandler } from '../lib/list-watch.ts';
import { specOrAnnotationChanged } from './objects.ts';

/** Where instances go: the cache of all credentials. */
interface Instances {
  credential(key: Key): CredentialResource | undefined;
  /** Puts it there, with the status of the one before. */
  applyInstance(instance: CredentialResource): void;
  /** Replaces it, status and all. */
  resetInstance(instance: CredentialResource): void;
  deleteInstance(key: Key): void;
  /** Those that are gone and have left a target. */
  enqueueFormer(clusterName: string): void;
}

interface Options {
  /** Of their credentials Secrets and sessions. */
  readonly namespace: string;
  readonly instances: Instances;
  readonly enqueue: (keys: readonly Key[]) => void;
}

/** A cluster credential, and the namespaces in which it has an instance. */
interface Served {
  resource: ClusterConvercusCredential;
  readonly namespaces: Set<string>;
}

/**
 * ClusterConvercusCredentials and namespaces as the watches have shown them. Keeps in the cache one instance for each
 * pair that belongs together, from the moment when all of both were listed.
 */
export class ClusterCredentials {
  readonly #options: Options;
  readonly #served = new Map<string, Served>();
  readonly #namespaces = new Map<string, NamespaceMeta>();
  readonly #listed = new Set<'credentials' | 'namespaces'>();

  constructor(options: Options) {
    this.#options = options;
  }

  /** Of their credentials Secrets and sessions. */
  get namespace(): string {
    return this.#options.namespace;
  }

  /** Both kinds of objects have been listed. */
  get isListed(): boolean {
    return this.#listed.size === 2;
  }

  /** Undefined as well until it is known which namespaces it selects. */
  credential(name: string): ClusterConvercusCredential | undefined {
    return this.isListed ? this.#served.get(name)?.resource : undefined;
  }

  /** Its instances by namespace, also in namespaces that are being deleted. */
  instances(name: string): CredentialResource[] {
    const namespaces = [...(this.#served.get(name)?.namespaces ?? [])].sort();
    return namespaces
      .map((namespace) => this.#options.instances.credential(instanceKeyOf(name, namespace)))
      .filter((instance) => instance !== undefined);
  }

  /** The namespaces that it lists and that do not exist. */
  missingNamespaces(name: string): string[] {
    const { namespaces = [] } = this.#served.get(name)?.resource.spec ?? {};
    return namespaces.filter((namespace) => !this.#namespaces.has(namespace)).sort();
  }

  *keys(): Iterable<Key> {
    for (const name of this.#served.keys()) yield clusterKeyOf(name);
  }

  /** As a ConvercusCredential without a namespace, which metrics show. */
  *reported(): Iterable<ConvercusCredential> {
    for (const { resource } of this.#served.values()) {
      yield { ...resource, metadata: { ...resource.metadata, namespace: '' } };
    }
  }

  /**
   * A term of leadership begins. What instances have come to in an earlier one is out of date, and another leader may
   * have stored a rejected login since: without that a standby would present the password again.
   */
  beginTerm(): void {
    const { instances, namespace: credentialsNamespace } = this.#options;
    for (const { resource, namespaces } of this.#served.values()) {
      for (const name of namespaces) {
        const namespace = this.#namespaces.get(name);
        if (namespace === undefined) continue;
        instances.resetInstance(instanceIn(resource, namespace, credentialsNamespace));
      }
    }
  }

  credentialHandler(): EventHandler<ClusterConvercusCredential> {
    let seen: Set<string> | undefined;
    let isNew = false;
    return {
      init: (_, isRestored) => {
        seen = new Set();
        isNew = isRestored; // generations begin again as well
      },
      apply: (item) => {
        seen?.add(item.metadata.name);
        this.#applyCredential(item, isNew);
      },
      delete: (item) => this.#forgetCredential(item.metadata.name),
      initDone: () => {
        for (const name of this.#served.keys()) {
          if (seen?.has(name) === false) this.#forgetCredential(name);
        }
        seen = undefined;
        isNew = false;
        this.#noteListed('credentials');
      },
    };
  }

  namespaceHandler(): EventHandler<NamespaceMeta> {
    let seen: Set<string> | undefined;
    return {
      init: () => {
        seen = new Set();
      },
      apply: (item) => {
        seen?.add(item.name);
        this.#applyNamespace(item);
      },
      delete: (item) => this.#forgetNamespace(item.name),
      initDone: () => {
        for (const name of this.#namespaces.keys()) {
          if (seen?.has(name) === false) this.#forgetNamespace(name);
        }
        seen = undefined;
        this.#noteListed('namespaces');
      },
    };
  }

  #noteListed(what: 'credentials' | 'namespaces'): void {
    const isNew = !this.#listed.has(what);
    this.#listed.add(what);
    if (isNew && this.isListed) for (const served of this.#served.values()) this.#select(served);
  }

  #applyCredential(resource: ClusterConvercusCredential, isNew: boolean): void {
    const { name } = resource.metadata;
    const before = this.#served.get(name);
    const served = before ?? { resource, namespaces: new Set() };
    const { resource: known } = served;
    this.#served.set(name, served);
    served.resource = resource;
    const isChanged = isNew || before === undefined || specOrAnnotationChanged(known, resource);
    if (isChanged) this.#select(served);
    // Its targets in other namespaces may be of a selection that it had while this release did not look after it
    if (before === undefined && this.isListed) this.#options.instances.enqueueFormer(name);
    // Also for our own write: it may show a status that the instances have left since
    if (isChanged || !isDeepStrictEqual(known.status, resource.status)) this.#enqueue(name);
  }

  #forgetCredential(name: string): void {
    const { instances } = this.#options;
    const { namespaces = [] } = this.#served.get(name) ?? {};
    if (!this.#served.delete(name)) return;
    for (const namespace of namespaces) instances.deleteInstance(instanceKeyOf(name, namespace));
    this.#enqueue(name);
  }

  #applyNamespace(namespace: NamespaceMeta): void {
    const before = this.#namespaces.get(namespace.name);
    this.#namespaces.set(namespace.name, namespace);
    if (!this.isListed || isDeepStrictEqual(namespace, before)) return;
    for (const served of this.#served.values()) this.#selectOne(served, namespace);
  }

  #forgetNamespace(name: string): void {
    if (!this.#namespaces.delete(name)) return;
    for (const served of this.#served.values()) this.#remove(served, name);
  }

  /** Makes or changes the instances of all its namespaces. */
  #select(served: Served): void {
    if (!this.isListed) return;
    for (const namespace of this.#namespaces.values()) {
      if (selects(served.resource.spec, namespace)) this.#apply(served, namespace);
      else this.#remove(served, namespace.name);
    }
  }

  #selectOne(served: Served, namespace: NamespaceMeta): void {
    const { spec, metadata } = served.resource;
    if (!selects(spec, namespace)) return this.#remove(served, namespace.name);
    const known = this.#options.instances.credential(instanceKeyOf(metadata.name, namespace.name));
    const wasTerminating = known?.metadata.deletionTimestamp !== undefined;
    if (known === undefined || wasTerminating !== namespace.isTerminating) {
      this.#apply(served, namespace);
    }
  }

  #apply(served: Served, namespace: NamespaceMeta): void {
    served.namespaces.add(namespace.name);
    const { instances, namespace: credentialsNamespace } = this.#options;
    instances.applyInstance(instanceIn(served.resource, namespace, credentialsNamespace));
    this.#enqueue(served.resource.metadata.name);
  }

  #remove({ resource, namespaces }: Served, namespace: string): void {
    const { name } = resource.metadata;
    if (resource.spec.namespaces?.includes(namespace) === true) this.#enqueue(name);
    if (!namespaces.delete(namespace)) return;
    this.#options.instances.deleteInstance(instanceKeyOf(name, namespace));
    this.#enqueue(name);
  }

  #enqueue(name: string): void {
    this.#options.enqueue([clusterKeyOf(name)]);
  }
}
