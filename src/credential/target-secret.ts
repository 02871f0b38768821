import { Failure, isFailure } from '../lib/failure.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { hours, rfc3339 } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';
import { type Credential, digest } from './credential.ts';
import { renewalDate } from './renewal.ts';
import type { DesiredSecret, SecretContents, SecretMeta, TokenAnnotations } from './secret.ts';
import { fill, type Placeholder, uses } from './template.ts';
import { formatTokenAnnotations } from './token-annotations.ts';

export const API_VERSION = 'convercus.io/v1alpha1';
export const KIND = 'ConvercusCredential';
export const FIELD_MANAGER = 'convercus-operator';

/** One per credential: under a shared one a second credential could take over what the first has set. */
export const managerFor = (credentialName: string): string => `${FIELD_MANAGER}.${credentialName}`;

/** The name of the credential whose manager that is; undefined when it is none of ours. */
export const credentialOfManager = (manager: string): string | undefined =>
  OUR_MANAGER.exec(manager)?.[1];

const OUR_MANAGER = /^convercus-operator\.([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)$/;

/**
 * The type of targets that we create. The type of a Secret can't be changed, so the API server itself
 * refuses to apply a target onto somebody else's Secret, however the two race.
 */
export const TARGET_TYPE = 'convercus.io/token';

export const MANAGED_BY_LABEL = 'app.kubernetes.io/managed-by';
export const CREDENTIAL_LABEL = 'convercus.io/credential';

/** Tells the Secret of a session, of whose metadata alone the type is no part. */
export const SESSION_LABEL = 'app.kubernetes.io/component';
export const SESSION_COMPONENT = 'session';

/** How a token came about: what the mark says besides the token's own times. */
export interface Provenance {
  readonly sourceVersion: string;
  readonly renewRequest: string | undefined;
}

function tokenAnnotationsFor(
  credential: Credential,
  token: Token,
  data: Readonly<Record<string, Sensitive>>,
  { sourceVersion, renewRequest }: Provenance,
): TokenAnnotations {
  const times = {
    issuedAt: token.issuedAt,
    expiresAt: token.expiresAt,
    renewAt: renewalDate(token, credential.renewal),
  };
  return {
    ...times,
    specHash: credential.specHash,
    sourceVersion,
    contentHash: hashOf(Object.entries(data), times),
    credential: credential.name,
    ...(renewRequest === undefined ? {} : { renewRequest }),
  };
}

/** The values of the target's keys. Fails with `InvalidSpec` when the answer lacks what a template asks for. */
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
      { retryAfter: hours(1) }, // or the provider has changed the client, which nothing here shows
    );
  }
  const valueOf = (name: Placeholder): string => valueFor(name, credential, token);
  return Object.fromEntries(
    templates.map(([key, template]) => [key, new Sensitive(fill(template, valueOf))]),
  );
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

/** The target as it shall be, whole. Fails with `InvalidSpec`. */
export function renderTarget(
  credential: Credential,
  token: Token,
  provenance: Provenance,
  existing: SecretMeta | 'absent',
): { secret: DesiredSecret; tokenAnnotations: TokenAnnotations } | Failure {
  const data = renderData(credential, token);
  if (isFailure(data)) return data;
  const tokenAnnotations = tokenAnnotationsFor(credential, token, data, provenance);
  const { target, namespace, name, uid } = credential;
  const secret = {
    namespace,
    name: target.name,
    ...(existing === 'absent' ? {} : { uid: existing.uid }),
    annotations: { ...target.annotations, ...formatTokenAnnotations(tokenAnnotations) },
    data,
    fieldManager: managerFor(name),
  };
  if (target.creationPolicy === 'Merge') {
    return { tokenAnnotations, secret: { ...secret, labels: labelsFrom(target), force: false } };
  }
  const labels = {
    ...labelsFrom(target),
    [MANAGED_BY_LABEL]: FIELD_MANAGER,
    [CREDENTIAL_LABEL]: name,
  };
  const owner = { apiVersion: API_VERSION, kind: KIND, name, uid };
  const owned = { ...secret, type: TARGET_TYPE, labels, force: true };
  return {
    tokenAnnotations,
    secret: target.deletionPolicy === 'Delete' ? { ...owned, owner } : owned,
  };
}

const OUR_LABELS: ReadonlySet<string> = new Set([
  MANAGED_BY_LABEL,
  CREDENTIAL_LABEL,
  SESSION_LABEL,
]);

/** The labels of the spec, but for those that are the operator's: no target may look like the Secret of a session. */
const labelsFrom = ({ labels }: Credential['target']): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => !OUR_LABELS.has(name)));

interface TargetUser {
  readonly uid: string;
  readonly name: string;
  readonly target: Pick<Credential['target'], 'creationPolicy'>;
}

/** This credential may write to the Secret: it owns it, or merges into one that was not made for another. */
export function isOurs(targetUser: TargetUser, target: SecretMeta): boolean {
  if (targetUser.target.creationPolicy === 'Owner') return isOwnedBy(targetUser, target);
  return target.credentialName === undefined || target.credentialName === targetUser.name;
}

/** Owned by this very credential, or kept (`Retain`) from one of the same name and owned by nobody. */
export const isOwnedBy = (
  { uid, name }: Pick<TargetUser, 'uid' | 'name'>,
  { controllerUid, credentialName }: SecretMeta,
): boolean => (controllerUid === undefined ? credentialName === name : controllerUid === uid);

/**
 * The target as this credential sees it: what another has published into it, and perhaps left there when it was deleted
 * or renamed, is no token of its own.
 */
export function asSeenBy(
  { name }: Pick<TargetUser, 'name'>,
  target: SecretMeta | 'absent',
): SecretMeta | 'absent' {
  const by = target === 'absent' ? undefined : target.tokenAnnotations?.credential;
  if (target === 'absent' || by === undefined || by === name) return target;
  const { tokenAnnotations: _, ...rest } = target;
  return rest;
}

/** Whether a target that somebody else has written to still holds what we published. */
export function isIntact(found: SecretContents, { target }: Credential): boolean {
  const tokenAnnotations = found.meta.tokenAnnotations;
  if (tokenAnnotations === undefined) return false;
  const values: [string, Sensitive][] = [];
  for (const key of Object.keys(target.data)) {
    const value = found.data.get(key);
    if (value === undefined) return false;
    values.push([key, value]);
  }
  return (
    hashOf(values, tokenAnnotations) === tokenAnnotations.contentHash &&
    holds(found.labels, labelsFrom(target)) &&
    holds(found.annotations, target.annotations)
  );
}

function holds(found: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>) {
  return Object.entries(wanted).every(([key, value]) => found[key] === value);
}

/** Covers the times as well, so that an edited date is not believed. */
function hashOf(
  data: readonly (readonly [string, Sensitive])[],
  { issuedAt, expiresAt, renewAt }: Pick<TokenAnnotations, 'issuedAt' | 'expiresAt' | 'renewAt'>,
): string {
  const values = Object.fromEntries(data.map(([key, value]) => [key, value.reveal()]));
  return digest([values, issuedAt, expiresAt, renewAt]);
}
