import type { ConvercusCredential } from '../credential/api.ts';
import type { CredentialEvent, EventSubject } from '../credential/events.ts';
import type {
  DesiredSecret,
  SecretContents,
  SecretIdentity,
  SecretMeta,
} from '../credential/secret.ts';
import type { Failure } from '../lib/failure.ts';

/** Requests to the API server. What they learn of a Secret is known to the Lister at once. */
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
  /** Makes the Secret what it shall be; what others have set besides stays. */
  applySecret(desired: DesiredSecret, signal: AbortSignal): Promise<SecretMeta | Failure>;
  /** Only the Secret with that uid. Undefined when it is gone. */
  deleteSecret(secret: SecretIdentity, signal: AbortSignal): Promise<Failure | undefined>;
  /** Asks the API server, where the watch may show only a part of all credentials. */
  readCredential(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<ConvercusCredential | 'absent' | Failure>;
  /** Replaces the whole status. `gone` when the credential does not exist any more. */
  applyStatus(
    credential: ConvercusCredential,
    status: NonNullable<ConvercusCredential['status']>,
    signal: AbortSignal,
  ): Promise<'written' | 'gone' | Failure>;
  /** Best effort, in the background; a lost event is logged and costs nothing else. */
  recordEvent(about: EventSubject, event: CredentialEvent): void;
}
