/** A moment of the wall clock, in milliseconds since the Unix epoch. */
export type EpochMs = number;

/** A length of time in milliseconds. */
export type Ms = number;

export const seconds = (n: number): Ms => n * 1_000;
export const minutes = (n: number): Ms => n * 60_000;
export const hours = (n: number): Ms => n * 3_600_000;

const CLOCK_TOLERANCE = minutes(1);

/** More than CLOCK_TOLERANCE ahead of `now`: the clock that dated it was wrong. */
export const isFromTheFuture = (at: EpochMs, now: EpochMs): boolean => at > now + CLOCK_TOLERANCE;

/** RFC 3339 in UTC with whole seconds, the form of every time in Kubernetes objects. */
export const rfc3339 = (at: EpochMs): string => `${new Date(at).toISOString().slice(0, 19)}Z`;

/** As rfc3339, with exactly six digits after the second: MicroTime of Kubernetes. */
export const microTime = (at: EpochMs): string => new Date(at).toISOString().replace('Z', '000Z');

/** The moment that an RFC 3339 text names; undefined when it names none. */
export function parseTime(text: string | undefined): EpochMs | undefined {
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? undefined : at;
}

/**
 * What a reconcile returns: when to reconcile the key again, or only after a change (kube-rs `Action`). `isError`: it
 * could not do its work.
 */
export type Action = { readonly requeueAt: EpochMs; readonly isError?: true } | 'await-change';

/** Of a reconcile that a failure of the API server or of ours has ended. */
export const asError = (action: Action): Action =>
  action === 'await-change' ? action : { ...action, isError: true };

/** Requeues at the earliest of the moments that are defined. */
export function earliestRequeue(...moments: (EpochMs | undefined)[]): Action {
  const known = moments.filter((at) => at !== undefined);
  return known.length === 0 ? 'await-change' : { requeueAt: Math.min(...known) };
}

/** The one of two actions that comes first. It is an error when one of them is. */
export function earlierAction(one: Action, other: Action): Action {
  if (one === 'await-change') return other;
  if (other === 'await-change') return one;
  const first = other.requeueAt < one.requeueAt ? other : one;
  return one.isError || other.isError ? asError(first) : first;
}
