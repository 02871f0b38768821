import { gunzipSync } from 'node:zlib';
import type { WholeResponse } from '../lib/http.ts';
import { textAt } from '../lib/json.ts';
import type { HttpResponse } from './http-response.ts';

/** In bytes, packed and unpacked. */
export const MAX_BODY = 64 * 1024;

type RawResponse = Pick<WholeResponse, 'status' | 'headers'> & {
  /** `cut`: the connection ended, or the time was over, before the body did. */
  readonly body: WholeResponse['body'] | 'cut';
};

/** Never fails: a body that can't be read is an empty one, and `bodyProblem` says why. */
export function responseFrom({ status, headers, body }: RawResponse): HttpResponse {
  const retryAfter = joined(headers['retry-after']);
  const date = joined(headers['date']);
  const authorization = joined(headers['authorization']);
  return {
    status,
    contentType: joined(headers['content-type']) ?? '',
    ...decoded(body, joined(headers['content-encoding']) ?? ''),
    ...(retryAfter !== undefined && { retryAfter }),
    ...(date !== undefined && { date }),
    ...(authorization !== undefined && { authorization }),
  };
}

/** A header that was sent twice says the same as both, joined. */
const joined = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(', ') : value;

type Decoded = Pick<HttpResponse, 'text' | 'bodyProblem' | 'isCut'>;

const unreadable = (bodyProblem: string): Decoded => ({ text: '', bodyProblem });

const TOO_LARGE = unreadable('is larger than 64 KiB');

function decoded(body: RawResponse['body'], encoding: string): Decoded {
  if (body === 'cut') return { ...unreadable('was cut off'), isCut: true };
  if (body === 'too-large') return TOO_LARGE;
  switch (encoding.trim().toLowerCase()) {
    case '':
    case 'identity':
      return { text: textOf(body) };
    case 'gzip':
    case 'x-gzip':
      return unpacked(body);
    default:
      return unreadable('has an encoding that was not asked for');
  }
}

const textOf = (body: Uint8Array): string => new TextDecoder().decode(body);

/** Nothing is what a 204 holds, whatever its header says. */
function unpacked(body: Buffer): Decoded {
  if (body.length === 0) return { text: '' };
  try {
    return { text: textOf(gunzipSync(body, { maxOutputLength: MAX_BODY })) };
  } catch (error) {
    const isTooLarge = textAt(error, 'code') === 'ERR_BUFFER_TOO_LARGE';
    return isTooLarge ? TOO_LARGE : unreadable('cannot be unpacked');
  }
}
