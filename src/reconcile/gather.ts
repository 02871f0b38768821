import { type Credential, sessionNameOf } from '../credential/credential.ts';
import type { CredentialResource } from '../credential/instance.ts';
import { presentedDigest, type Rejection } from '../credential/lockout.ts';
import { type Observation, tokenAnnotationsOf } from '../credential/plan.ts';
import { type SecretMeta, versionOf } from '../credential/secret.ts';
import { readRejection } from '../credential/status.ts';
import { asSeenBy, isIntact, isMergeAllowed, isOwnedBy } from '../credential/target-secret.ts';
import type { Clock } from '../lib/clock.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import type { ObjectName } from '../lib/key.ts';
import type { Ms } from '../lib/time.ts';
import type { AcceptedLogins } from './accepted-logins.ts';
import type { ClusterClient, Dependencies, Lister } from './dependencies.ts';
import type { CredentialState, Subject, Unparsed } from './state.ts';

type Readers = Pick<Dependencies, 'lister' | 'cluster'>;

/**
 * Reads only. Nearly everything comes from the watches. A request is made for a Secret that was named after the watch
 * had shown it, and for the contents of a target that others have written to. Fails with what the API server said.
 */
export async function gather(
  { lister, cluster, tokens, clock }: Readers & Pick<Dependencies, 'tokens' | 'clock'>,
  acceptedLogins: AcceptedLogins,
  subject: Subject,
  signal: AbortSignal,
): Promise<Observation | Failure> {
  const { resource, credential, state } = subject;
  const { namespace, tokenUrl } = credential;
  const { name } = credential.target;
  const meta = (at: ObjectName) => secretMeta({ lister, cluster }, at, signal);
  const found = isToBeCreated(lister, subject) ? 'absent' : await meta({ namespace, name });
  if (isFailure(found)) return found;
  const target = asSeenBy(credential, found, clock.now());
  // Without a token in place the credentials Secret is read as a whole anyway
  const source =
    tokenAnnotationsOf({ target }) === undefined
      ? lister.secret(credential.source.namespace, credential.source.name)
      : await meta(credential.source);
  if (isFailure(source)) return source;
  const session =
    credential.grantType === 'password' ? await meta(sessionOf(credential)) : 'absent';
  if (isFailure(session)) return session;
  const targetIntact = await isUntouched(cluster, subject, target, signal);
  if (isFailure(targetIntact)) return targetIntact;
  return {
    credential,
    source,
    target,
    session,
    targetIntact,
    duplicate: duplicateOf(resource, lister.credentialsWithTarget(namespace, name), found),
    handledRenewRequest: lastHandledRequest(subject),
    failedRenewRequest: state.failedRenewRequest,
    rejection: rejectionOf(lister, acceptedLogins, subject),
    validFrom: tokens.validFrom(tokenUrl),
    sincePublished: sincePublished(state, clock),
  };
}

const sessionOf = ({ name, source }: Credential): ObjectName => ({
  namespace: source.namespace,
  name: sessionNameOf(name),
});

const sincePublished = ({ publishedAt }: CredentialState, clock: Clock): Ms | undefined =>
  publishedAt === undefined ? undefined : clock.monotonic() - publishedAt;

/** As the status says, or was to say when it could not be written. */
export const lastHandledRequest = ({ resource, state }: Unparsed): string | undefined =>
  state.handledRenewRequest ?? resource.status?.lastHandledRenewRequest;

/** As the status says, or was to say when it could not be written. */
export const lastRejection = ({ resource, state }: Unparsed): Rejection | undefined =>
  readRejection(state.unwrittenStatus ?? resource.status);

/** What has been rejected for another credential with the same Secret is not tried again for this one. */
function rejectionOf(
  lister: Lister,
  acceptedLogins: AcceptedLogins,
  subject: Subject,
): Rejection | undefined {
  const { credential } = subject;
  const own = lastRejection(subject);
  const { grantType, source } = credential;
  const meta = lister.secret(source.namespace, source.name);
  if (grantType === 'client_credentials' || typeof meta !== 'object') return own;
  const presented = presentedDigest(credential, versionOf(meta));
  const isSame = own?.presented === presented;
  const found = isSame ? own : rejectionElsewhere(lister, source, presented);
  return found !== undefined && acceptedLogins.isOver(found) ? undefined : (found ?? own);
}

function rejectionElsewhere(
  lister: Lister,
  { namespace, name }: ObjectName,
  presented: string,
): Rejection | undefined {
  const users = lister.referrers(namespace, name);
  const rejections = users.map(({ status }) => readRejection(status));
  return rejections.find((each) => each?.presented === presented);
}

/** As the watch has shown it, or as the API server says where it has not. */
export async function secretMeta(
  { lister, cluster }: Readers,
  { namespace, name }: ObjectName,
  signal: AbortSignal,
): Promise<SecretMeta | 'absent' | Failure> {
  const known = lister.secret(namespace, name);
  return known === 'unknown' ? cluster.readSecretMeta(namespace, name, signal) : known;
}

/**
 * The first target of a credential is created without a read: a POST changes nothing that exists, and answers 409 if
 * there is such a Secret, which is of another owner then, for what the operator has written is never unknown. This saves
 * one of four requests of a first sync.
 */
const isToBeCreated = (
  lister: Lister,
  { resource: { status }, credential: { namespace, target } }: Subject,
): boolean =>
  target.creationPolicy === 'Owner' &&
  status?.issuedAt === undefined &&
  lister.secret(namespace, target.name) === 'unknown';

async function isUntouched(
  cluster: ClusterClient,
  { resource, credential, state }: Subject,
  target: SecretMeta | 'absent',
  signal: AbortSignal,
): Promise<boolean | Failure> {
  if (target === 'absent' || target.tokenAnnotations === undefined) return true;
  const { resourceVersion } = target;
  if (resourceVersion === state.intactVersion) return true;
  if (resourceVersion === resource.status?.target?.resourceVersion) return true;
  const found = await cluster.readSecret(credential.namespace, credential.target.name, signal);
  if (isFailure(found)) return found;
  const intact = found !== 'absent' && isIntact(found, credential);
  if (intact) state.intactVersion = found.meta.resourceVersion;
  return intact;
}

/**
 * Of several credentials with one target it belongs to the one that owns it, then to the one that its owner allows to
 * merge, then to the one that has published into it, then to the oldest, then to the first by name.
 */
function duplicateOf(
  { metadata: own }: CredentialResource,
  candidates: readonly CredentialResource[],
  target: SecretMeta | 'absent',
): string | undefined {
  const [first, ...others] = candidates;
  const best = others.reduce((a, b) => (isBetter(target, b, a) ? b : a), first);
  return best === undefined || best.metadata.uid === own.uid ? undefined : best.metadata.name;
}

function isBetter(
  target: SecretMeta | 'absent',
  one: CredentialResource,
  other: CredentialResource | undefined,
): boolean {
  if (other === undefined) return true;
  const claims = claimOn(target, one) - claimOn(target, other);
  if (claims !== 0) return claims < 0;
  const [a, b] = [one.metadata, other.metadata];
  const [created = '', otherCreated = ''] = [a.creationTimestamp, b.creationTimestamp];
  return created === otherCreated ? a.name < b.name : created < otherCreated;
}

/** The lower, the better. */
function claimOn(target: SecretMeta | 'absent', { metadata, spec }: CredentialResource): number {
  if (target === 'absent') return 3;
  if (isOwnedBy(metadata, target)) return 0;
  if (spec.target.creationPolicy === 'Merge' && isMergeAllowed(metadata, target)) return 1;
  return target.tokenAnnotations?.credential === metadata.name ? 2 : 3;
}
