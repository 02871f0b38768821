import { listAt, numberAt, textAt } from '../lib/json.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { hours, type Ms, seconds } from '../lib/time.ts';

const MAX_RETRY_AFTER = hours(1);

/** `reason` of the ApiError for a response that is not the object that was requested. */
export const UNEXPECTED_BODY = 'UnexpectedBody';

/** `reason` of the ApiError for a response beyond the limit. */
export const BODY_TOO_LARGE = 'BodyTooLarge';

interface Cause {
  readonly field: string;
  readonly reason: string;
  readonly detail: Sensitive;
}

/**
 * A request that did not succeed. Messages of the API server, and even more of admission webhooks,
 * may echo the object that was sent, so they are Sensitive here: `toFailure` decides what may be shown.
 */
export class ApiError extends Error {
  /** HTTP status; 0 when there was no response. */
  readonly code: number;
  /** `reason` of the Status object, or the code of the network error (`ECONNREFUSED`, `TIMEOUT`). */
  readonly reason: string;
  readonly detail: Sensitive;
  readonly causes: readonly Cause[];
  readonly retryAfter: Ms | undefined;

  /** @param status the body, a meta/v1 Status when the API server itself has sent it */
  constructor(code: number, status: unknown, retryAfterHeader?: unknown) {
    const reason = textAt(status, 'reason') ?? '';
    super(`${code} ${reason}`.trim());
    this.code = code;
    this.reason = reason;
    this.detail = new Sensitive(textAt(status, 'message') ?? '');
    this.causes = listAt(status, 'details', 'causes').map((cause) => ({
      field: textAt(cause, 'field') ?? '',
      reason: textAt(cause, 'reason') ?? '',
      detail: new Sensitive(textAt(cause, 'message') ?? ''),
    }));
    this.retryAfter = retryAfterFrom(
      retryAfterHeader,
      numberAt(status, 'details', 'retryAfterSeconds'),
    );
  }

  /** There was no response: `reason` says why, in one word. */
  static network(reason: string): ApiError {
    return new ApiError(0, { reason });
  }
}

/** The API server writes `Retry-After` in seconds, never as a date. What asks for no wait counts as nothing. */
function retryAfterFrom(header: unknown, inStatus: number | undefined): Ms | undefined {
  const asked = typeof header === 'string' && /^\d+$/.test(header) ? Number(header) : inStatus;
  return asked === undefined || asked <= 0 ? undefined : Math.min(seconds(asked), MAX_RETRY_AFTER);
}
