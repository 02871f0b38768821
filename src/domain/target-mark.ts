import type { TargetMark } from './secret.ts';
import { type EpochMs, parseTime, rfc3339 } from './time.ts';

/** The annotations that hold a TargetMark. They are API: other tools may read them. */
export const MARK_ANNOTATIONS = {
  issuedAt: 'convercus.io/issued-at',
  expiresAt: 'convercus.io/expires-at',
  renewAt: 'convercus.io/renew-at',
  specHash: 'convercus.io/spec-hash',
  sourceVersion: 'convercus.io/source-version',
  contentHash: 'convercus.io/content-hash',
  renewRequest: 'convercus.io/renew-request',
  credential: 'convercus.io/credential',
} as const satisfies Record<keyof TargetMark, string>;

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/** The mark as annotations. Times keep whole milliseconds, written only where there are some. */
export function writeMark(mark: TargetMark): Record<string, string> {
  return {
    [MARK_ANNOTATIONS.issuedAt]: writeTime(mark.issuedAt),
    [MARK_ANNOTATIONS.expiresAt]: writeTime(mark.expiresAt),
    [MARK_ANNOTATIONS.renewAt]: writeTime(mark.renewAt),
    [MARK_ANNOTATIONS.specHash]: mark.specHash,
    [MARK_ANNOTATIONS.sourceVersion]: mark.sourceVersion,
    [MARK_ANNOTATIONS.contentHash]: mark.contentHash,
    ...(mark.renewRequest === undefined
      ? {}
      : { [MARK_ANNOTATIONS.renewRequest]: mark.renewRequest }),
    ...(mark.credential === undefined ? {} : { [MARK_ANNOTATIONS.credential]: mark.credential }),
  };
}

/**
 * The mark that the annotations hold, or undefined when it is incomplete or anybody has made it unreadable.
 * @param writtenBy the credential that has set them, where they do not say so: version 0.1.0 did not
 */
export function readMark(
  annotations: Readonly<Record<string, string>>,
  writtenBy?: string,
): TargetMark | undefined {
  const text = (field: keyof TargetMark): string | undefined => {
    const name = MARK_ANNOTATIONS[field];
    return Object.hasOwn(annotations, name) ? annotations[name] : undefined;
  };
  const mark = {
    issuedAt: readTime(text('issuedAt')),
    expiresAt: readTime(text('expiresAt')),
    renewAt: readTime(text('renewAt')),
    specHash: text('specHash'),
    sourceVersion: text('sourceVersion'),
    contentHash: text('contentHash'),
  };
  const renewRequest = text('renewRequest');
  const credential = text('credential') ?? writtenBy;
  if (!isComplete(mark)) return undefined;
  return {
    ...mark,
    ...(renewRequest === undefined ? {} : { renewRequest }),
    ...(credential === undefined ? {} : { credential }),
  };
}

const isComplete = (
  mark: {
    [K in keyof TargetMark]: TargetMark[K] | undefined;
  },
): mark is TargetMark => Object.values(mark).every((value) => value !== undefined && value !== '');

const writeTime = (at: EpochMs): string =>
  Math.trunc(at) % 1_000 === 0 ? rfc3339(at) : new Date(at).toISOString();

const readTime = (text: string | undefined): EpochMs | undefined =>
  text !== undefined && RFC_3339.test(text) ? parseTime(text) : undefined;
