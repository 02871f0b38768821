import { type EpochMs, hours, type Ms, seconds } from '../lib/time.ts';

/** What a server answered, as far as anybody needs it. Read once at the edge, judged in the domain. */
export interface HttpResponse {
  readonly status: number;
  readonly contentType: string;
  /** The decoded body; empty when it was larger than is read. */
  readonly text: string;
  /** Header `Retry-After` as sent. */
  readonly retryAfter?: string;
  /** Header `Date` as sent. */
  readonly date?: string;
  /** Header `Authorization` as sent: where some logins put their token. */
  readonly authorization?: string;
}

const JSON_TYPE = /^application\/([\w.-]+\+)?json\s*(;|$)/i;
const MAX_RETRY_AFTER = hours(1);
const TOLERATED_SKEW = seconds(30);

/** The body as JSON, or undefined when it is none or does not say that it is. */
export const jsonBody = (response: HttpResponse): unknown =>
  JSON_TYPE.test(response.contentType) ? parseJson(response.text) : undefined;

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A member of a JSON object; undefined for whatever is not an object or has no such member of its own. */
export function memberOf(body: unknown, name: string): unknown {
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body);
  return isObject && Object.hasOwn(body, name) ? Reflect.get(body, name) : undefined;
}

export const textMember = (body: unknown, name: string): string | undefined => {
  const value = memberOf(body, name);
  return typeof value === 'string' ? value : undefined;
};

/** A finite number, also one that was sent as decimal text; undefined for anything else. */
export function numberMember(body: unknown, name: string): number | undefined {
  const value = memberOf(body, name);
  const isDecimal = typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value);
  return Number.isFinite(value) || isDecimal ? Number(value) : undefined;
}

/**
 * How long `Retry-After` (RFC 9110, 10.2.3: seconds or an HTTP date) asks us to wait, at most one hour.
 * A date is read against the server's own clock. Undefined when absent, unreadable or over.
 */
export function retryAfterOf(response: HttpResponse, receivedAt: EpochMs): Ms | undefined {
  const asked = response.retryAfter?.trim() ?? '';
  const wait = /^\d+$/.test(asked)
    ? seconds(Number(asked))
    : (httpDate(asked) ?? 0) - (httpDate(response.date) ?? receivedAt);
  return wait > 0 ? Math.min(wait, MAX_RETRY_AFTER) : undefined;
}

/** How far the server's clock is ahead of ours (negative: behind), when it is more than 30 s. */
export function clockSkewOf(response: HttpResponse, receivedAt: EpochMs): Ms | undefined {
  const skew = (httpDate(response.date) ?? receivedAt) - receivedAt;
  return Math.abs(skew) > TOLERATED_SKEW ? skew : undefined;
}

export function httpDate(text: string | undefined): EpochMs | undefined {
  const at = text?.endsWith('GMT') ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : at;
}
