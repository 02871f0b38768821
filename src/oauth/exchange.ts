import { gunzipSync } from 'node:zlib';
import pRetry from 'p-retry';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { ResponseCut, sendRequest, type WholeResponse } from '../lib/http.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import type { HttpResponse } from './http-response.ts';
import { isTransient, isUnsent } from './network-errors.ts';

export interface HttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** It counts at the server: never sent again once it may have arrived. */
  readonly once?: boolean;
  /** Called right before each try leaves; what it throws ends the exchange. */
  readonly beforeSend?: (() => void) | undefined;
}

export interface Exchange {
  readonly response: HttpResponse;
  /** When the try that was answered was sent. */
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
}

const MAX_BODY = 64 * 1024;
/** Three tries, 0.2 s and 0.6 s apart. */
const RETRIES = { retries: 2, minTimeout: 200, factor: 3 } as const;

/**
 * Sends a request and reads its answer, whatever it is. Tries again after transient faults of the network, but never
 * once a status line has arrived, and never for longer than `timeout` in all. Redirects are answers like any other:
 * a secret is sent only where it was meant to go.
 */
export async function sendWithRetries(
  request: HttpRequest,
  dispatcher: Dispatcher,
  { clock, timeout }: { readonly clock: Clock; readonly timeout: Ms },
  signal: AbortSignal,
): Promise<Exchange> {
  const { url, method, body, once = false, beforeSend } = request;
  const headers = { ...request.headers, 'accept-encoding': 'gzip' };
  const { origin, pathname, search } = new URL(url);
  let requestedAt = clock.now();
  const deadline = requestedAt + timeout;
  const send = () => {
    beforeSend?.();
    requestedAt = clock.now();
    const left = Math.max(deadline - requestedAt, 1);
    const path = pathname + search;
    const whole = { origin, path, method, headers, body, signal, timeout: left };
    return sendRequest(dispatcher, whole, MAX_BODY).catch(asError);
  };
  const isHarmless = once ? isUnsent : isTransient;
  const shouldRetry = ({ error }: { error: Error }) =>
    !(error.cause instanceof ResponseCut) && isHarmless(error);
  const response = await pRetry(send, { ...RETRIES, signal, shouldRetry });
  return { response: answerOf(response), requestedAt, receivedAt: clock.now() };
}

/** p-retry knows only errors of its own realm. */
const asError = (cause: unknown): never => {
  throw new Error('no answer', { cause });
};

function answerOf({ status, headers, body }: WholeResponse): HttpResponse {
  const retryAfter = only(headers['retry-after']);
  const date = only(headers['date']);
  const authorization = only(headers['authorization']);
  const isPacked = only(headers['content-encoding']) === 'gzip';
  return {
    status,
    contentType: only(headers['content-type']) ?? '',
    text: body === 'too-large' ? '' : textOf(isPacked ? unpacked(body) : body),
    ...(retryAfter !== undefined && { retryAfter }),
    ...(date !== undefined && { date }),
    ...(authorization !== undefined && { authorization }),
  };
}

/** A header that was sent twice says the same as both, joined. */
const only = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(', ') : value;

const textOf = (body: Uint8Array): string => new TextDecoder().decode(body);

/** Nothing when it proves too large. */
function unpacked(body: Buffer): Uint8Array {
  try {
    return gunzipSync(body, { maxOutputLength: MAX_BODY });
  } catch (error) {
    if (error instanceof RangeError) return new Uint8Array();
    throw error;
  }
}
