import { Failure, isFailure } from '../lib/failure.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, hours, isFromTheFuture, rfc3339 } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';
import { CLUSTER_KIND, clusterNameOf } from './cluster-name.ts';
import { type Credential, digest } from './credential.ts';
import { type Lifetime, renewalDate } from './renewal.ts';
import type { DesiredSecret, SecretContents, SecretMeta, TokenAnnotations } from './secret.ts';
import { fill, filledSize, type Placeholder, uses } from './template.ts';
import { formatTokenAnnotations } from './token-annotations.ts';

export const API_VERSION = 'convercus.io/v1alpha1';
export const KIND = 'ConvercusCredential';
export const FIELD_MANAGER = 'convercus-operator';

/** One field manager per credential: with a shared one a second credential could take over fields of the first. */
export const managerFor = (credentialName: string): string => `${FIELD_MANAGER}.${credentialName}`;

/** Name of the credential that the field manager belongs to; undefined for other managers. */
export const credentialOfManager = (manager: string): string | undefined =>
  OUR_MANAGER.exec(manager)?.[1];

const OUR_MANAGER =
  /^convercus-operator\.((?:ClusterConvercusCredential\/)?[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)$/;

/**
 * Type of the targets that the operator creates. The type of a Secret cannot be changed, so the API server refuses to
 * apply a target onto a Secret that was made for something else, even in a race (ADR 3).
 */
export const TARGET_TYPE = 'convercus.io/token';

/** On a Secret to merge into, set by its owner: the name of the one credential that may. */
export const MERGE_ANNOTATION = 'convercus.io/merge';

/**
 * On a Secret that was merged into, always with the value `Delete`: what its field managers have applied goes with their
 * credentials. The value is the same for all, so that each of them has the field.
 */
export const DELETION_POLICY_ANNOTATION = 'convercus.io/deletion-policy';

export const MANAGED_BY_LABEL = 'app.kubernetes.io/managed-by';
export const CREDENTIAL_LABEL = 'convercus.io/credential';
/** In its place on the Secrets of a ClusterConvercusCredential. */
export const CLUSTER_CREDENTIAL_LABEL = 'convercus.io/cluster-credential';

/** The labels that say whose Secret it is. */
export function credentialLabels(name: string): Readonly<Record<string, string>> {
  const clusterName = clusterNameOf(name);
  const owner =
    clusterName === undefined
      ? { [CREDENTIAL_LABEL]: name }
      : { [CLUSTER_CREDENTIAL_LABEL]: clusterName };
  return { [MANAGED_BY_LABEL]: FIELD_MANAGER, ...owner };
}

/** On the Secret of a session its value is SESSION_COMPONENT: metadata do not hold the type. */
export const COMPONENT_LABEL = 'app.kubernetes.io/component';
export const SESSION_COMPONENT = 'session';

/** How a token was obtained: what its annotations say besides its times. */
export interface Provenance {
  readonly sourceVersion: string;
  readonly renewRequest: string | undefined;
}

function tokenAnnotationsFor(
  credential: Credential,
  token: Lifetime,
  data: Readonly<Record<string, Sensitive>>,
  { sourceVersion, renewRequest }: Provenance,
): TokenAnnotations {
  // As they are written: a provider may send fractions (RFC 7519, NumericDate)
  const times = {
    issuedAt: Math.trunc(token.issuedAt),
    expiresAt: Math.trunc(token.expiresAt),
    renewAt: Math.trunc(renewalDate(token, credential.renewal)),
  };
  return {
    ...times,
    specHash: credential.specHash,
    dataHash: credential.dataHash,
    sourceVersion,
    contentHash: hashOf(Object.entries(data), times),
    credential: credential.name,
    ...(renewRequest === undefined ? {} : { renewRequest }),
  };
}

/** The API server takes no Secret with more. */
const MAX_DATA_BYTES = 1 << 20;

/** The values of the target's keys. Fails with `InvalidSpec` when a template uses an ID token and there is none. */
function renderData(
  credential: Credential,
  token: Token,
): Readonly<Record<string, Sensitive>> | Failure {
  const templates = Object.entries(credential.target.data);
  const wantsIdToken = templates.find(([, template]) => uses(template, 'id_token'));
  if (wantsIdToken !== undefined && token.idToken === undefined) {
    return new Failure(
      'InvalidSpec',
      `spec.target.data.${wantsIdToken[0]} uses {{id_token}}, but the server sent none; is "openid" in spec.scope?`,
      { retryAfter: hours(1) }, // The client may be changed at the provider, which no watch shows
    );
  }
  const valueOf = (name: Placeholder): string => valueFor(name, credential, token);
  if (renderedSize(templates, valueOf) > MAX_DATA_BYTES) {
    return new Failure(
      'InvalidSpec',
      'spec.target.data would be more than 1 MiB with a token of this length, and a Secret holds no more; use fewer placeholders',
    );
  }
  return Object.fromEntries(
    templates.map(([key, template]) => [key, new Sensitive(fill(template, valueOf))]),
  );
}

/** Bytes of all values, counted before any is made: a template may ask for a hundred times as much as it is long. */
function renderedSize(
  templates: readonly (readonly [string, string])[],
  valueOf: (name: Placeholder) => string,
): number {
  const sizeOf = (name: Placeholder): number => Buffer.byteLength(valueOf(name));
  return templates.reduce((sum, [, template]) => sum + filledSize(template, sizeOf), 0);
}

function valueFor(name: Placeholder, credential: Credential, token: Token): string {
  const values: Record<Placeholder, () => string> = {
    access_token: () => token.accessToken.reveal(),
    id_token: () => token.idToken?.reveal() ?? '',
    token_type: () => token.tokenType,
    scope: () => token.scope,
    issued_at: () => rfc3339(token.issuedAt),
    expires_at: () => rfc3339(token.expiresAt),
    expires_at_unix: () => String(Math.floor(token.expiresAt / 1_000)),
    program: () => credential.program,
    environment: () => credential.environment.name,
    realm: () => credential.realm,
    api_url: () => credential.environment.apiUrl,
  };
  return values[name]();
}

/** The desired target, and the annotations of its token. */
export interface RenderedTarget {
  readonly secret: DesiredSecret;
  readonly tokenAnnotations: TokenAnnotations;
}

/** Fails with `InvalidSpec`. */
export function renderTarget(
  credential: Credential,
  token: Token,
  provenance: Provenance,
  existing: SecretMeta | 'absent',
): RenderedTarget | Failure {
  const data = renderData(credential, token);
  if (isFailure(data)) return data;
  const tokenAnnotations = tokenAnnotationsFor(credential, token, data, provenance);
  return { tokenAnnotations, secret: secretFor(credential, tokenAnnotations, data, existing) };
}

/**
 * The target with the data that it holds, of the version that was read. Undefined when they are not as published.
 * @param jitter as that of a token
 */
export function renderAgain(
  credential: Credential,
  found: SecretContents,
  jitter: number,
): RenderedTarget | undefined {
  const before = found.meta.tokenAnnotations;
  const data = before && publishedData(found, credential);
  if (before === undefined || data === undefined) return undefined;
  const { issuedAt, expiresAt, sourceVersion, renewRequest } = before;
  const lifetime = { issuedAt, expiresAt, jitter };
  const provenance = { sourceVersion, renewRequest };
  const tokenAnnotations = tokenAnnotationsFor(credential, lifetime, data, provenance);
  const secret = secretFor(credential, tokenAnnotations, data, found.meta);
  const { resourceVersion } = found.meta;
  return { tokenAnnotations, secret: { ...secret, resourceVersion } };
}

function secretFor(
  credential: Credential,
  tokenAnnotations: TokenAnnotations,
  data: Readonly<Record<string, Sensitive>>,
  existing: SecretMeta | 'absent',
): DesiredSecret {
  const { target, namespace, name } = credential;
  const secret = {
    namespace,
    name: target.name,
    ...(existing === 'absent' ? {} : { uid: existing.uid }),
    annotations: formatTokenAnnotations(tokenAnnotations),
    data,
    fieldManager: managerFor(name),
  };
  const isMerge = target.creationPolicy === 'Merge';
  return isMerge ? mergedSecret(credential, secret, existing) : ownedSecret(credential, secret);
}

type CommonFields = Omit<DesiredSecret, 'labels' | 'force'>;

/**
 * Of the version that was seen to allow it. No labels and annotations of the spec: other controllers act on these, such
 * as those that copy a Secret to another namespace.
 */
function mergedSecret(
  { target }: Credential,
  secret: CommonFields,
  existing: SecretMeta | 'absent',
): DesiredSecret {
  const isReleased = target.deletionPolicy === 'Delete';
  const annotations = {
    ...secret.annotations,
    ...(isReleased ? { [DELETION_POLICY_ANNOTATION]: 'Delete' } : {}),
  };
  const version = existing === 'absent' ? {} : { resourceVersion: existing.resourceVersion };
  return { ...secret, ...version, annotations, labels: {}, force: false };
}

/** Stakater Reloader would restart the pods that use the target after each renewal. */
const DEFAULT_ANNOTATIONS = { 'reloader.stakater.com/ignore': 'true' } as const;

function ownedSecret({ target, name, uid }: Credential, secret: CommonFields): DesiredSecret {
  const labels = { ...labelsFrom(target), ...credentialLabels(name) };
  const annotations = { ...DEFAULT_ANNOTATIONS, ...target.annotations, ...secret.annotations };
  const owned = { ...secret, type: TARGET_TYPE, labels, annotations, force: true };
  return target.deletionPolicy === 'Delete' ? { ...owned, owner: ownerFrom(name, uid) } : owned;
}

/** Its object in the cluster. */
export function ownerFrom(name: string, uid: string): NonNullable<DesiredSecret['owner']> {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined
    ? { apiVersion: API_VERSION, kind: KIND, name, uid }
    : { apiVersion: API_VERSION, kind: CLUSTER_KIND, name: clusterName, uid };
}

/** Nothing: an apply of it removes what the credential has merged, but for what others have set as well. */
export const releasedSecret = (
  { namespace, name }: Pick<Credential, 'namespace' | 'name'>,
  secretName: string,
  { uid, resourceVersion }: SecretMeta,
): DesiredSecret => ({
  namespace,
  name: secretName,
  uid,
  resourceVersion,
  labels: {},
  annotations: {},
  data: {},
  force: false,
  fieldManager: managerFor(name),
});

const OUR_LABELS: ReadonlySet<string> = new Set([
  MANAGED_BY_LABEL,
  CREDENTIAL_LABEL,
  CLUSTER_CREDENTIAL_LABEL,
  COMPONENT_LABEL,
]);

/** The labels of the spec without the operator's own: no target may look like the Secret of a session. */
const labelsFrom = ({ labels }: Credential['target']): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => !OUR_LABELS.has(name)));

interface TargetUser {
  readonly uid: string;
  readonly name: string;
  readonly target: Pick<Credential['target'], 'creationPolicy'>;
}

/** The credential may write to the Secret: it owns it, or merges into one that is no other credential's, nor a session. */
export function isOurs(targetUser: TargetUser, target: SecretMeta): boolean {
  if (targetUser.target.creationPolicy === 'Owner') return isOwnedBy(targetUser, target);
  if (target.isSession === true) return false;
  return target.credentialName === undefined || target.credentialName === targetUser.name;
}

/** The owner of the Secret has named the credential as the one that may merge into it. */
export const isMergeAllowed = ({ name }: Pick<TargetUser, 'name'>, target: SecretMeta): boolean =>
  target.allowsMergeBy === name;

/** Made by the operator for this very credential: by its type, which others can't change, and by owner and label. */
export const isOwnTarget = (
  { uid, name }: Pick<TargetUser, 'uid' | 'name'>,
  { meta, type }: Pick<SecretContents, 'meta' | 'type'>,
): boolean => type === TARGET_TYPE && meta.controllerUid === uid && meta.credentialName === name;

/** Owned by this credential, or without an owner and kept (`Retain`) from a credential of the same name. */
export const isOwnedBy = (
  { uid, name }: Pick<TargetUser, 'uid' | 'name'>,
  { controllerUid, credentialName }: SecretMeta,
): boolean => (controllerUid === undefined ? credentialName === name : controllerUid === uid);

/**
 * The target without token annotations that count for nothing: of another credential, which may have left them there
 * when it was deleted or renamed, or of a token that was issued in the future.
 */
export function asSeenBy(
  { name }: Pick<TargetUser, 'name'>,
  target: SecretMeta | 'absent',
  now: EpochMs,
): SecretMeta | 'absent' {
  if (target === 'absent' || target.tokenAnnotations === undefined) return target;
  const { credential = name, issuedAt } = target.tokenAnnotations;
  if (credential === name && !isFromTheFuture(issuedAt, now)) return target;
  const { tokenAnnotations: _, ...rest } = target;
  return rest;
}

/** Whether a target that another writer has changed still holds what was published. */
export function isIntact(found: SecretContents, credential: Credential): boolean {
  const { target } = credential;
  if (publishedData(found, credential) === undefined) return false;
  if (target.creationPolicy === 'Merge') return true;
  return holds(found.labels, labelsFrom(target)) && holds(found.annotations, target.annotations);
}

/** The values of the target's keys; undefined unless they and their dates are as they were published. */
function publishedData(
  { meta: { tokenAnnotations }, data }: SecretContents,
  { target }: Credential,
): Readonly<Record<string, Sensitive>> | undefined {
  if (tokenAnnotations === undefined) return undefined;
  const values: [string, Sensitive][] = [];
  for (const key of Object.keys(target.data)) {
    const value = data.get(key);
    if (value === undefined) return undefined;
    values.push([key, value]);
  }
  const isSame = hashOf(values, tokenAnnotations) === tokenAnnotations.contentHash;
  return isSame ? Object.fromEntries(values) : undefined;
}

function holds(found: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>) {
  return Object.entries(wanted).every(([key, value]) => found[key] === value);
}

/** Covers the times too: with an edited date the target counts as changed. */
function hashOf(
  data: readonly (readonly [string, Sensitive])[],
  { issuedAt, expiresAt, renewAt }: Pick<TokenAnnotations, 'issuedAt' | 'expiresAt' | 'renewAt'>,
): string {
  const values = Object.fromEntries(data.map(([key, value]) => [key, value.reveal()]));
  return digest([values, issuedAt, expiresAt, renewAt]);
}
