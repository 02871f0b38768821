import { isDeepStrictEqual } from 'node:util';
import { CLUSTER_KIND, clusterNameOf } from '../../../src/credential/cluster-name.ts';
import {
  CLUSTER_CREDENTIAL_LABEL,
  CREDENTIAL_LABEL,
  DELETION_POLICY_ANNOTATION,
  MERGE_ANNOTATION,
} from '../../../src/credential/target-secret.ts';
import { member, textAt } from '../../../src/lib/json.ts';
import { type Ms, parseTime, seconds } from '../../../src/lib/time.ts';
import type { Change } from '../api-server.ts';
import { decoded, keyOf, mergeAllowedTo, type StoredObject } from '../objects.ts';
import type { Issued } from '../provider.ts';
import { START } from '../replica.ts';
import { hostOf, makesTarget, realmOf, type Scene, type Spec, specOf, tokensIn } from './rule.ts';

const OPERATOR = 'convercus-operator';
const OURS = 'convercus.io/';
/** A lifetime counts from the request, as the operator can't know when the provider handled it. */
const LONGEST_EXCHANGE: Ms = seconds(30);
/** The largest `renewal.minimumSeconds`. At the end of a session its tokens are shorter. */
const LONGEST_MINIMUM: Ms = seconds(30);

/** The target of a ClusterConvercusCredential goes with the label of its namespace. */
const isOfCluster = ({ type, metadata: { labels = {}, ownerReferences = [] } }: StoredObject) =>
  type === 'convercus.io/token' &&
  labels[CLUSTER_CREDENTIAL_LABEL] !== undefined &&
  ownerReferences[0]?.kind === CLUSTER_KIND;

interface SpecVersion {
  readonly name: string;
  readonly spec: Spec;
  readonly since: Ms;
  /** Undefined while it is current. */
  until: Ms | undefined;
}

/**
 * Published tokens are of the credential and never worse than those they replace. Secrets of others stay unchanged.
 */
export class Targets {
  readonly #scene: Scene;
  /** By namespace and name of the credential, oldest first. */
  readonly #specs = new Map<string, SpecVersion[]>();

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  changed(change: Change): void {
    if (change.kind.endsWith('convercuscredentials')) this.#credentialChanged(change);
    else if (change.kind === 'secrets' && isByOperator(change)) this.#secretWritten(change);
  }

  /** Specs that the operator may still see as the current one. */
  #specsOf(namespace: string, name: string): Spec[] {
    const clusterName = clusterNameOf(name);
    const key = clusterName === undefined ? `${namespace}/${name}` : `/${clusterName}`;
    const versions = this.#specs.get(key) ?? [];
    const oldest = this.#scene.now - this.#scene.latestNews;
    return versions.filter(({ until }) => (until ?? Infinity) > oldest).map(({ spec }) => spec);
  }

  #credentialChanged({ type, object }: Change): void {
    const key = keyOf(object.metadata);
    const versions = this.#specs.get(key) ?? [];
    this.#specs.set(key, versions);
    const last = versions.at(-1);
    const isSame = last !== undefined && last.until === undefined && type === 'MODIFIED';
    if (isSame && isDeepStrictEqual(last.spec, specOf(object))) return;
    if (last !== undefined) last.until ??= this.#scene.now;
    if (type === 'DELETED') return;
    const { name } = object.metadata;
    versions.push({ name, spec: specOf(object), since: this.#scene.now, until: undefined });
  }

  #secretWritten(change: Change): void {
    const { type, object, before, request } = change;
    const key = keyOf(object.metadata);
    if (type === 'DELETED') {
      if (object.type === 'convercus.io/session' || isOfCluster(object)) return;
      if (this.#isFormer(object)) return;
      return this.#scene.violated(
        'only sessions and former targets are deleted',
        `${key} of the type ${object.type}`,
      );
    }
    if (object.type === 'convercus.io/session') return;
    const uid = textAt(request?.body, 'metadata', 'uid');
    if (before !== undefined && uid === undefined && request?.method === 'PATCH') {
      const isHandOver = request.contentType?.includes('merge') === true;
      if (!isHandOver)
        this.#scene.violated('every write says what it is for', `apply of ${key} without uid`);
    }
    const name = change.by.slice(OPERATOR.length + 1);
    if (before !== undefined && isRelease(change)) {
      return this.#checkRelease(change, before, name);
    }
    const specs = this.#specsOf(object.metadata.namespace, name);
    if (before !== undefined && before.type !== 'convercus.io/token') {
      this.#checkMerge(change, before, specs);
      if (mergeAllowedTo(before) !== name)
        this.#scene.violated('Merge only into a Secret that allows it', `${key} by ${name}`);
    }
    this.#checkTokens(change, specs);
    this.#checkDates(change, specs);
    if (before !== undefined) this.#checkGain(change, before);
  }

  /** Its credential names another target, or merges into one. */
  #isFormer({ type, metadata: { namespace, name, labels = {} } }: StoredObject): boolean {
    const owner = labels[CREDENTIAL_LABEL];
    if (type !== 'convercus.io/token' || owner === undefined) return false;
    return this.#specsOf(namespace, owner).some((spec) => !makesTarget(owner, spec, name));
  }

  /** An apply of nothing removes what its manager has set, and never of a credential that still has this target. */
  #checkRelease({ object, by }: Change, before: StoredObject, name: string): void {
    const key = keyOf(object.metadata);
    for (const field of changedNames(before.data, object.data)) {
      const isOurs = isSetBy(before, by, ['f:data', `f:${field}`]);
      if (object.data?.[field] !== undefined || !isOurs)
        this.#scene.violated('a release removes its own fields only', `${key}: ${field} by ${by}`);
    }
    this.#checkMetadata(object, before);
    const versions = this.#specs.get(`${object.metadata.namespace}/${name}`) ?? [];
    const isInUse = versions.some(
      ({ spec, since, until }) =>
        until === undefined &&
        since < this.#scene.now - this.#scene.latestNews &&
        spec.target.creationPolicy === 'Merge' &&
        spec.target.name === object.metadata.name,
    );
    if (isInUse)
      this.#scene.violated('what is merged stays while its credential has that target', key);
  }

  /** Of the metadata only annotations of the operator change. */
  #checkMetadata(object: StoredObject, before: StoredObject): void {
    const key = keyOf(object.metadata);
    const isOurs = (name: string) => name.startsWith(OURS) && name !== MERGE_ANNOTATION;
    const changed = [
      ...changedNames(before.metadata.labels, object.metadata.labels),
      ...changedNames(before.metadata.annotations, object.metadata.annotations).filter(
        (name) => !isOurs(name),
      ),
    ];
    for (const name of changed)
      this.#scene.violated('Merge changes its own keys only', `${key}: ${name}`);
  }

  /** Only keys of the spec, and annotations of the operator. */
  #checkMerge({ object, by }: Change, before: StoredObject, specs: readonly Spec[]): void {
    const key = keyOf(object.metadata);
    const merging = specs.filter(
      ({ target }) => target.creationPolicy === 'Merge' && target.name === object.metadata.name,
    );
    if (merging.length === 0) {
      return this.#scene.violated(
        'a Secret that is not ours never changes',
        `${key} (${before.type})`,
      );
    }
    const policies = new Set(merging.map(({ target }) => target.deletionPolicy));
    const [policy] = policies;
    if (policies.size === 1 && isReleasedWith(object, by) !== (policy === 'Delete'))
      this.#scene.violated('what is merged goes with its credential or stays', `${key}: ${policy}`);
    const keys = new Set(
      merging.flatMap(({ target }) => Object.keys(target.data ?? { token: '' })),
    );
    for (const name of changedNames(before.data, object.data)) {
      // A key that is no longer in the spec is removed
      const isDropped =
        object.data?.[name] === undefined && tokensIn(decoded(before.data)[name] ?? '').length > 0;
      if (!keys.has(name) && !isDropped) {
        this.#scene.violated('Merge changes its own keys only', `${key}: ${name}`);
      }
    }
    this.#checkMetadata(object, before);
  }

  #checkTokens({ object, before, by }: Change, specs: readonly Spec[]): void {
    const key = keyOf(object.metadata);
    const data = decoded(object.data);
    const wanted = specs.flatMap(({ target }) =>
      Object.entries(target.data ?? { token: '{{access_token}}' }),
    );
    for (const [name, template] of wanted) {
      if (data[name] === undefined || !template.includes('{{access_token}}')) continue;
      const isWritten = by !== OPERATOR && specs.length > 0;
      if (isWritten && tokensIn(data[name]).length === 0 && !isForeign(object, name, by)) {
        this.#scene.violated('no empty token is published', `${key}: ${name}`);
      }
    }
    const old = new Set(Object.values(decoded(before?.data)).flatMap(tokensIn));
    for (const token of Object.values(data).flatMap(tokensIn)) {
      if (old.has(token)) continue;
      const issued = this.#scene.provider.issued.get(token);
      if (issued === undefined) continue; // written by people, or a refresh token, which the canary looks for
      if (object.type === 'convercus.io/token' && !specs.some((spec) => isFor(spec, issued))) {
        this.#scene.violated(
          'a published token was issued for exactly that credential',
          `${key} by ${by}: ${issued.grantType} ${issued.realm} ${issued.clientId} ${issued.scope}`,
        );
      }
    }
  }

  /** The annotations of a new token: it expires when the provider says, and is renewed before. */
  #checkDates({ object, before }: Change, specs: readonly Spec[]): void {
    const issued = this.#newest(object);
    const isNew = issued !== undefined && issued !== (before && this.#newest(before));
    // The operator tells the lifetime by its own clock; a legacy login's by its token, so by the provider's
    if (!isNew || issued.grantType === 'legacy_login' || !this.#scene.clocksAgree) return;
    const at = (name: string): Ms =>
      (parseTime(object.metadata.annotations?.[`${OURS}${name}`]) ?? Infinity) - START;
    const lifetime = issued.expiresAt - issued.issuedAt;
    const percents = specs.map(({ renewal }) => renewal?.percent ?? 80);
    const share = (Math.max(80, ...percents) + 5) / 100;
    const latest = issued.issuedAt + Math.max(share * lifetime, LONGEST_MINIMUM);
    const key = keyOf(object.metadata);
    const late = at('expires-at') - issued.expiresAt;
    if (Math.abs(late + LONGEST_EXCHANGE / 2) > LONGEST_EXCHANGE / 2 + 1_000)
      this.#scene.violated('a target says when its token expires', `${key}: ${late} ms late`);
    if (at('renew-at') > latest + 1_000)
      this.#scene.violated(
        'a token is renewed in time',
        `${key}: ${at('renew-at') - latest} ms late`,
      );
  }

  #checkGain({ object }: Change, before: StoredObject): void {
    const [old, fresh] = [this.#newest(before), this.#newest(object)];
    if (old === undefined || old.expiresAt <= this.#scene.now) return;
    const key = keyOf(object.metadata);
    if (fresh === undefined) {
      return this.#scene.violated('no valid token is replaced by an empty one', key);
    }
    const isSame =
      old.host === fresh.host &&
      old.realm === fresh.realm &&
      old.clientId === fresh.clientId &&
      (old.username === fresh.username || fresh.grantType === 'refresh_token') &&
      old.scope === fresh.scope &&
      (old.grantType === 'client_credentials') === (fresh.grantType === 'client_credentials');
    if (!isSame || !this.#scene.clocksAgree || old.secret !== fresh.secret) return;
    // For a repair or a new spec a release takes what it has cached, and the other may have published a newer one
    const isOfOneRelease = this.#scene.releases === 1 || isScheduled(before, object);
    const isOfOneCache = isOfOneRelease && !this.#scene.severalLead;
    if (isOfOneCache && fresh.issuedAt < old.issuedAt) {
      this.#scene.violated('no valid token is replaced by one issued earlier', key);
    }
    const isEarlier = fresh.expiresAt < old.expiresAt - 2_000;
    if (isEarlier && isScheduled(before, object) && !this.#scene.severalLead) {
      this.#scene.violated('no scheduled renewal brings a token that expires earlier', key);
    }
  }

  #newest({ data }: StoredObject): Issued | undefined {
    return Object.values(decoded(data))
      .flatMap(tokensIn)
      .map((token) => this.#scene.provider.issued.get(token))
      .filter((issued) => issued !== undefined)
      .sort((a, b) => b.issuedAt - a.issuedAt)[0];
  }
}

export const isByOperator = ({ by }: Pick<Change, 'by'>): boolean =>
  by === 'operator' || by.startsWith(OPERATOR);

/** True for an apply without data. */
const isRelease = ({ request, object }: Change): boolean =>
  object.type !== 'convercus.io/token' &&
  request?.contentType?.includes('apply') === true &&
  member(request.body, 'data') === undefined;

/** What that manager has set goes with its credential. */
export const isReleasedWith = (secret: StoredObject, manager: string): boolean =>
  secret.type === 'Opaque' &&
  isSetBy(secret, manager, ['f:metadata', 'f:annotations', `f:${DELETION_POLICY_ANNOTATION}`]);

const isSetBy = (
  { metadata: { managedFields = [] } }: StoredObject,
  by: string,
  path: readonly string[],
): boolean =>
  managedFields.some(
    ({ manager, fieldsV1 }) => manager === by && member(fieldsV1, ...path) !== undefined,
  );

/** True if another manager owns the key: people may have changed it. */
const isForeign = ({ metadata }: StoredObject, key: string, by: string): boolean =>
  (metadata.managedFields ?? []).some(
    (entry) => entry.manager !== by && entry.fieldsV1['f:data']?.[`f:${key}`] !== undefined,
  );

/** True for a scheduled renewal: it is due, its inputs are the same, and no one else changed the target. */
function isScheduled(before: StoredObject, after: StoredObject): boolean {
  const text = ({ metadata }: StoredObject, name: string) =>
    metadata.annotations?.[`${OURS}${name}`];
  const same = ['spec-hash', 'source-version', 'renew-request'];
  const isByUs = (before.metadata.managedFields ?? []).every(({ manager }) =>
    manager.startsWith(OPERATOR),
  );
  return isByUs && same.every((name) => text(before, name) === text(after, name));
}

function changedNames(
  before: Readonly<Record<string, string>> = {},
  after: Readonly<Record<string, string>> = {},
): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => before[name] !== after[name]);
}

export function isFor(spec: Spec, issued: Issued): boolean {
  if (hostOf(spec) !== issued.host) return false;
  const isLegacy = spec.grantType === 'legacy_login';
  if (isLegacy || issued.grantType === 'legacy_login')
    return isLegacy && issued.grantType === 'legacy_login';
  const isUser = issued.grantType === 'password' || issued.grantType === 'refresh_token';
  return (
    realmOf(spec) === issued.realm &&
    spec.clientId === issued.clientId &&
    spec.scope === issued.scope &&
    isUser === (spec.grantType === 'password')
  );
}
