import { type EpochMs, parseTime, rfc3339 } from '../lib/time.ts';
import { shortened } from './credential.ts';
import { isPlausible } from './renewal.ts';
import type { TokenAnnotations } from './secret.ts';

/** Names of the annotations. They are API: other tools may read them. */
export const TOKEN_ANNOTATIONS = {
  issuedAt: 'convercus.io/issued-at',
  expiresAt: 'convercus.io/expires-at',
  renewAt: 'convercus.io/renew-at',
  specHash: 'convercus.io/spec-hash',
  dataHash: 'convercus.io/data-hash',
  sourceVersion: 'convercus.io/source-version',
  contentHash: 'convercus.io/content-hash',
  renewRequest: 'convercus.io/renew-request',
  credential: 'convercus.io/credential',
} as const satisfies Record<keyof TokenAnnotations, string>;

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** Milliseconds of a time are written only if they are not 0. */
export function formatTokenAnnotations(tokenAnnotations: TokenAnnotations): Record<string, string> {
  return {
    [TOKEN_ANNOTATIONS.issuedAt]: writeTime(tokenAnnotations.issuedAt),
    [TOKEN_ANNOTATIONS.expiresAt]: writeTime(tokenAnnotations.expiresAt),
    [TOKEN_ANNOTATIONS.renewAt]: writeTime(tokenAnnotations.renewAt),
    [TOKEN_ANNOTATIONS.specHash]: tokenAnnotations.specHash,
    [TOKEN_ANNOTATIONS.sourceVersion]: tokenAnnotations.sourceVersion,
    [TOKEN_ANNOTATIONS.contentHash]: tokenAnnotations.contentHash,
    ...optional(TOKEN_ANNOTATIONS.dataHash, tokenAnnotations.dataHash),
    ...optional(TOKEN_ANNOTATIONS.renewRequest, tokenAnnotations.renewRequest),
    ...optional(TOKEN_ANNOTATIONS.credential, tokenAnnotations.credential),
  };
}

const optional = (name: string, value: string | undefined): Record<string, string> =>
  value === undefined ? {} : { [name]: value };

/**
 * Undefined when an annotation is missing or cannot be read, or the dates are none that the operator writes.
 * @param writtenBy the credential that set them, for those of version 0.1.0, which do not say it
 */
export function parseTokenAnnotations(
  annotations: Readonly<Record<string, string>>,
  writtenBy?: string,
): TokenAnnotations | undefined {
  const text = (field: keyof TokenAnnotations): string | undefined => {
    const name = TOKEN_ANNOTATIONS[field];
    return Object.hasOwn(annotations, name) ? annotations[name] : undefined;
  };
  const tokenAnnotations = {
    issuedAt: readTime(text('issuedAt')),
    expiresAt: readTime(text('expiresAt')),
    renewAt: readTime(text('renewAt')),
    specHash: text('specHash'),
    sourceVersion: text('sourceVersion'),
    contentHash: text('contentHash'),
  };
  const renewRequest = text('renewRequest');
  if (!isComplete(tokenAnnotations) || !isPlausible(tokenAnnotations)) return undefined;
  return {
    ...tokenAnnotations,
    ...optional('dataHash', text('dataHash')),
    ...optional('renewRequest', renewRequest && shortened(renewRequest)),
    ...optional('credential', text('credential') ?? writtenBy),
  };
}

const isComplete = (
  tokenAnnotations: {
    [K in keyof TokenAnnotations]: TokenAnnotations[K] | undefined;
  },
): tokenAnnotations is TokenAnnotations =>
  Object.values(tokenAnnotations).every((value) => value !== undefined && value !== '');

const writeTime = (at: EpochMs): string =>
  Math.trunc(at) % 1_000 === 0 ? rfc3339(at) : new Date(at).toISOString();

const readTime = (text: string | undefined): EpochMs | undefined =>
  text !== undefined && RFC_3339.test(text) ? parseTime(text) : undefined;
