import type { Sensitive } from '../lib/sensitive.ts';
import type { EpochMs } from '../lib/time.ts';

/** Everything that we keep of a Secret's metadata. `last-applied-configuration` and all other annotations are dropped at the edge. */
export interface SecretMeta {
  readonly uid: string;
  readonly resourceVersion: string;
  /** uid of the owner reference with `controller: true`. */
  readonly controllerUid?: string;
  /** Label `convercus.io/credential`, when `app.kubernetes.io/managed-by` is this operator. */
  readonly credentialName?: string;
  /** Labelled as the Secret of a session. */
  readonly isSession?: true;
  /** Our annotations; absent on a Secret into which no token was ever published. */
  readonly tokenAnnotations?: TokenAnnotations;
  /** Who has set its fields: nobody but us, or others besides, and some of ours not by apply. Absent for all the rest. */
  readonly fieldOwnership?: 'sole' | 'shared';
}

/** What tells one state of a Secret from another without looking into it. */
export const versionOf = ({ uid, resourceVersion }: SecretMeta): string =>
  `${uid}/${resourceVersion}`;

/** What is known of a Secret without asking: its metadata, that there is none, or nothing at all. */
export type KnownSecret = SecretMeta | 'absent' | 'unknown';

export const isSameVersion = (meta: SecretMeta, known: KnownSecret): known is SecretMeta =>
  typeof known === 'object' &&
  known.uid === meta.uid &&
  known.resourceVersion === meta.resourceVersion;

/** What a target says about the token in it: annotations `convercus.io/*`. This, not status, is the operator's memory. */
export interface TokenAnnotations {
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  readonly renewAt: EpochMs;
  /** Digest of the parts of the spec that shape the token or the target. */
  readonly specHash: string;
  /** `uid/resourceVersion` of the credentials Secret that the token was obtained with. */
  readonly sourceVersion: string;
  /** Digest of the published data and the three times. It covers a token, so there is nothing to guess. */
  readonly contentHash: string;
  /** The last `convercus.io/renew-requested-at` that led to a token. */
  readonly renewRequest?: string;
  /** Name of the credential that has written it. Absent where version 0.1.0 did and nothing else tells. */
  readonly credential?: string;
}

/** A Secret read by name: metadata and decoded data. */
export interface SecretContents {
  readonly meta: SecretMeta;
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: ReadonlyMap<string, Sensitive>;
}

/** A Secret as it shall be, whole: what we own of it. */
export interface DesiredSecret {
  readonly namespace: string;
  readonly name: string;
  /** Present: only if the Secret is still this one. Absent: only if it is new or already of our type. */
  readonly uid?: string;
  /** Present: only if the Secret is still this version. */
  readonly resourceVersion?: string;
  /** Absent for `Merge`, where the Secret has a type of its own. */
  readonly type?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly owner?: {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly uid: string;
  };
  readonly data: Readonly<Record<string, Sensitive>>;
  /** Take back fields that somebody else has set. Never for `Merge`. */
  readonly force: boolean;
  readonly fieldManager: string;
}

export interface SecretIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}
