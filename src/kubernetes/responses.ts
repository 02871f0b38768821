import type { Dispatcher } from 'undici';
import { sendRequest, type WholeRequest, type WholeResponse } from '../lib/http.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { ApiError } from './api-error.ts';
import { jsonIn } from './json-lines.ts';

/** No answer that we ask for is larger; a page of a list that is gets asked for in smaller pages. */
const MAX_BODY = 32 * 1024 * 1024;
const MAX_ERROR_BODY = 1024 * 1024;
export const DEFAULT_TIMEOUT: Ms = seconds(30);

export interface StatusResponse {
  readonly status: number;
}

/** Rejects with an ApiError when the server refuses. */
export type Send<T extends StatusResponse> = (
  dispatcher: Dispatcher,
  request: WholeRequest,
) => Promise<T>;

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

export const sendWhole: Send<WholeResponse> = async (dispatcher, request) => {
  const response = await sendRequest(dispatcher, request, MAX_BODY);
  if (isSuccess(response.status)) return response;
  throw errorFrom(response);
};

/** Its body goes on for as long as somebody reads. */
export const openStream: Send<StatusResponse & { readonly body: AsyncIterable<Buffer> }> = async (
  dispatcher,
  request,
) => {
  const { timeout: headersTimeout, ...rest } = request;
  const limits = { headersTimeout, bodyTimeout: 0 };
  const { statusCode: status, headers, body } = await dispatcher.request({ ...rest, ...limits });
  if (isSuccess(status)) return { status, body };
  throw errorFrom({ status, headers, body: await collected(body) });
};

/** Leaving the loop closes the connection. */
async function collected(body: AsyncIterable<Buffer>): Promise<WholeResponse['body']> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_ERROR_BODY) return 'too-large';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Proxies write what they want; then only the status counts. */
function errorFrom({ status, headers, body }: WholeResponse): ApiError {
  let described: unknown;
  try {
    described = jsonIn(body);
  } catch {
    described = undefined;
  }
  return new ApiError(status, described, headers['retry-after']);
}
