import type { WholeAnswer } from '../http/whole-answer.ts';
import { ApiError, BODY_TOO_LARGE, NO_OBJECT } from './api-error.ts';

const LINE_FEED = 0x0a;

/** A Secret or custom resource is at most 1.5 MiB in etcd; JSON may escape every third character. */
const LONGEST_LINE = 8 * 1024 * 1024;

/**
 * The JSON values of a byte stream, one a line. Lines are cut as bytes, so a character split over two chunks is whole again.
 * @throws ApiError when a line is too long or no JSON
 */
export async function* jsonLines(
  chunks: AsyncIterable<Uint8Array>,
  longest = LONGEST_LINE,
): AsyncGenerator {
  let pending: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      yield* parsed([...pending, chunk.subarray(start, end)]);
      pending = [];
      length = 0;
      start = end + 1;
    }
    pending.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > longest) throw ApiError.network(BODY_TOO_LARGE);
  }
  yield* parsed(pending);
}

function* parsed(line: readonly Uint8Array[]): Generator {
  const text = Buffer.concat(line).toString('utf8').trim();
  if (text !== '') yield parseJson(text);
}

/**
 * The one JSON value of a body; undefined when it is empty.
 * @throws ApiError when it was too large or is no JSON
 */
export function jsonIn(body: WholeAnswer['body']): unknown {
  if (body === 'too-large') throw ApiError.network(BODY_TOO_LARGE);
  return body.length === 0 ? undefined : parseJson(body.toString('utf8'));
}

/** Like JSON.parse, but the error does not quote the text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw ApiError.network(NO_OBJECT);
  }
}
