import type { ConvercusCredential } from '../credential/api.ts';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import type { CredentialEvent, EventSubject } from '../credential/events.ts';
import type { CredentialResource } from '../credential/instance.ts';
import type { RenewReason } from '../credential/plan.ts';
import type {
  DesiredSecret,
  KnownSecret,
  SecretContents,
  SecretIdentity,
  SecretMeta,
} from '../credential/secret.ts';
import type { Clock, Random } from '../lib/clock.ts';
import type { Failure, FailureKind } from '../lib/failure.ts';
import type { Key } from '../lib/key.ts';
import type { Log } from '../lib/log.ts';
import type { Ms } from '../lib/time.ts';
import type { TokenClient } from '../tokens/token-client.ts';

/** What a reconcile works with. */
export interface Dependencies {
  readonly lister: Lister;
  /** Absent: ClusterConvercusCredentials are not served. */
  readonly clusterCredentials?: ClusterLister | undefined;
  readonly cluster: ClusterClient;
  readonly tokens: TokenClient;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Reconciles the key before all that is merely due. */
  readonly enqueueFirst: (key: Key) => void;
}

/** The cluster as the watches have shown it so far. No call here makes a request. */
export interface Lister {
  credential(key: Key): CredentialResource | undefined;
  secret(namespace: string, name: string): KnownSecret;
  /** Every credential of the namespace that names this Secret as its target. */
  credentialsWithTarget(namespace: string, targetName: string): readonly CredentialResource[];
  /** Every credential that names this Secret, for whatever purpose. */
  referrers(namespace: string, secretName: string): readonly CredentialResource[];
  /** A Secret labelled as the session of that credential exists, whether the credential does or not. */
  hasSession(key: Key): boolean;
  /** Names of the Secrets that carry the label of the credential, existing or not, and that it does not name. */
  formerTargets(key: Key): readonly string[];
  /** Names of the Secrets that the credential, existing or not, has merged into and whose fields there go with it. */
  mergedSecrets(key: Key): readonly string[];
}

/** ClusterConvercusCredentials as the watches have shown them. */
export interface ClusterLister {
  /** Of their credentials Secrets and sessions. */
  readonly namespace: string;
  /** Undefined as well until it is known which namespaces it selects. */
  credential(name: string): ClusterConvercusCredential | undefined;
  /** Its instances by namespace, also in namespaces that are being deleted. */
  instances(name: string): readonly CredentialResource[];
  /** The namespaces that it lists and that do not exist. */
  missingNamespaces(name: string): readonly string[];
}

/** Requests to the API server. What they learn of a Secret the Lister knows at once. */
export interface ClusterClient {
  readSecretMeta(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretMeta | 'absent' | Failure>;
  readSecret(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretContents | 'absent' | Failure>;
  /** Makes the Secret as desired; what others have set besides stays. */
  applySecret(desired: DesiredSecret, signal: AbortSignal): Promise<SecretMeta | Failure>;
  /** Only the Secret with that uid. Undefined when it is gone. */
  deleteSecret(secret: SecretIdentity, signal: AbortSignal): Promise<Failure | undefined>;
  /** Asks the API server, where the watch may show only a part of all credentials. */
  readCredential(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<CredentialResource | 'absent' | Failure>;
  /**
   * The credential of the Lister with the parts of its spec that are too large to be kept there. `superseded`: it has
   * changed or gone, and its key is enqueued when that is known.
   */
  wholeCredential(
    cached: CredentialResource,
    signal: AbortSignal,
  ): Promise<CredentialResource | 'superseded' | Failure>;
  readClusterCredential(
    name: string,
    signal: AbortSignal,
  ): Promise<ClusterConvercusCredential | 'absent' | Failure>;
  /** Replaces the whole status. `gone` when the credential does not exist any more. That of an instance is stored nowhere. */
  applyStatus(
    credential: CredentialResource,
    status: NonNullable<ConvercusCredential['status']>,
    signal: AbortSignal,
  ): Promise<'written' | 'gone' | Failure>;
  applyClusterStatus(
    credential: ClusterConvercusCredential,
    status: NonNullable<ClusterConvercusCredential['status']>,
    signal: AbortSignal,
  ): Promise<'written' | 'gone' | Failure>;
  /** Best effort, in the background; a lost event is logged and costs nothing else. */
  recordEvent(about: EventSubject, event: CredentialEvent): void;
}

export interface Telemetry {
  renewal(reason: RenewReason, outcome: 'success' | FailureKind): void;
  /** A renewal that was due by date has succeeded. */
  renewedOnSchedule(times: { readonly lateness: Ms; readonly remaining: Ms }): void;
}
