import { parseJson } from '../lib/json.ts';
import { type EpochMs, hours, type Ms, seconds } from '../lib/time.ts';

/** What a server sent, as far as any protocol reads it. */
export interface HttpResponse {
  readonly status: number;
  readonly contentType: string;
  /** The decoded body; empty when it can't be read. */
  readonly text: string;
  /** Why not: a predicate, such as `was cut off`. */
  readonly bodyProblem?: string;
  /** The connection ended, or the time was over, before the body did. */
  readonly isCut?: boolean;
  /** Header `Retry-After` as sent. */
  readonly retryAfter?: string;
  /** Header `Date` as sent. */
  readonly date?: string;
  /** Header `Authorization` as sent: where some logins put their token. */
  readonly authorization?: string;
}

/** What the response itself does not tell. */
export interface ResponseContext {
  /** Host and port that were asked. */
  readonly host: string;
  /** When the request was sent: validity counts from here, so a slow response never stretches it. */
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
  /** In [-1, 1], drawn once per response. */
  readonly jitter: number;
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;
const MAX_RETRY_AFTER = hours(1);
const TOLERATED_SKEW = seconds(30);

export const isSuccess = ({ status }: HttpResponse): boolean => status >= 200 && status < 300;

/** The body as JSON, or undefined when it is none or does not say that it is. */
export const jsonBody = (response: HttpResponse): unknown =>
  JSON_TYPE.test(response.contentType) ? parseJson(response.text) : undefined;

/**
 * How long `Retry-After` (RFC 9110, 10.2.3: seconds or an HTTP date) asks us to wait, at most one hour.
 * A date is read against the server's own clock. Undefined when absent, unreadable or over.
 */
export function retryAfterOf(response: HttpResponse, receivedAt: EpochMs): Ms | undefined {
  const asked = response.retryAfter?.trim() ?? '';
  const until = httpDate(asked);
  const inSeconds = /^\d+$/.test(asked) ? seconds(Number(asked)) : 0;
  const wait = until === undefined ? inSeconds : until - serverTime(response, receivedAt);
  return wait > 0 ? Math.min(wait, MAX_RETRY_AFTER) : undefined;
}

/** How far the server's clock is ahead of ours (negative: behind), when it is more than 30 s. */
export function clockSkewOf(response: HttpResponse, receivedAt: EpochMs): Ms | undefined {
  const skew = serverTime(response, receivedAt) - receivedAt;
  return Math.abs(skew) > TOLERATED_SKEW ? skew : undefined;
}

/** When the response was sent by the server's clock; by ours when it has no readable date. */
export const serverTime = ({ date }: HttpResponse, receivedAt: EpochMs): EpochMs =>
  httpDate(date) ?? receivedAt;

function httpDate(text: string | undefined): EpochMs | undefined {
  const at = text?.endsWith('GMT') ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
