import type { Sensitive } from '../lib/sensitive.ts';
import type { EpochMs } from '../lib/time.ts';

/** What is kept of a Secret's metadata. The rest, such as `last-applied-configuration`, is dropped when it is read. */
export interface SecretMeta {
  readonly uid: string;
  readonly resourceVersion: string;
  /** uid of the owner reference with `controller: true`. */
  readonly controllerUid?: string;
  /** Label `convercus.io/credential`, when `app.kubernetes.io/managed-by` is this operator. */
  readonly credentialName?: string;
  /** Labelled as the Secret of a session. */
  readonly isSession?: true;
  /** Absent on a Secret into which no token was ever published. */
  readonly tokenAnnotations?: TokenAnnotations;
  /** Name of the one credential that may merge into it: annotation `convercus.io/merge`, set by its owner. */
  readonly allowsMergeBy?: string;
  /** Names of the credentials that have merged into it and whose fields there go when they go (ADR 29). */
  readonly mergedBy?: readonly string[];
  /**
   * `sole`: the operator is the only field manager. `shared`: there are others, and the operator has set some of its
   * fields by an update. Absent otherwise.
   */
  readonly fieldOwnership?: 'sole' | 'shared';
}

/** Identifies one state of a Secret without its contents. */
export const versionOf = ({ uid, resourceVersion }: SecretMeta): string =>
  `${uid}/${resourceVersion}`;

/** What the cache knows of a Secret: its metadata, that there is none, or nothing. */
export type KnownSecret = SecretMeta | 'absent' | 'unknown';

export const isSameVersion = (meta: SecretMeta, known: KnownSecret): known is SecretMeta =>
  typeof known === 'object' &&
  known.uid === meta.uid &&
  known.resourceVersion === meta.resourceVersion;

/** What the annotations `convercus.io/*` of a target say of its token. Decisions use them, not status (ADR 4). */
export interface TokenAnnotations {
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  readonly renewAt: EpochMs;
  /** Digest of the parts of the spec that shape the token or the target. */
  readonly specHash: string;
  /** Digest of those parts alone that shape the data. Absent if version 0.1.0 wrote them. */
  readonly dataHash?: string;
  /** `uid/resourceVersion` of the credentials Secret that the token was obtained with. */
  readonly sourceVersion: string;
  /** Digest of the published data and the three times. The data hold a token, so they cannot be guessed from it. */
  readonly contentHash: string;
  /** The last `convercus.io/renew-requested-at` that led to a token. */
  readonly renewRequest?: string;
  /** Name of the credential that wrote them. Absent if version 0.1.0 did and the field managers do not tell. */
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

/** The desired state of a Secret: all fields that the operator owns. */
export interface DesiredSecret {
  readonly namespace: string;
  readonly name: string;
  /** Written only if the Secret has this uid. Absent: only if the Secret is new or has `type`. */
  readonly uid?: string;
  /** Written only if the Secret has this version. */
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
  /** Takes over fields that other managers have set. Never for `Merge`. */
  readonly force: boolean;
  readonly fieldManager: string;
}

export interface SecretIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}
