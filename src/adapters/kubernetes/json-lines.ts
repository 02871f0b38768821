import type { WholeAnswer } from '../http/whole-answer.ts';
import { ApiError, BODY_TOO_LARGE, NO_OBJECT } from './api-error.ts';

const LINE_FEED = 0x0a;

/** A Secret or custom resource is at most 1.5 MiB in etcd; JSON may escape every third character. */
const LONGEST_LINE = 8 * 1024 * 1024;

export interface LineOptions {
  readonly longest?: number;
  /** Lines that need not be read at all. */
  readonly skip?: (line: Buffer) => boolean;
}

/**
 * The JSON values of a byte stream, one a line. Lines are cut as bytes, so a character split over two chunks is whole again.
 * @throws ApiError when a line is too long or no JSON
 */
export async function* jsonLines(
  chunks: AsyncIterable<Buffer>,
  { longest = LONGEST_LINE, skip = () => false }: LineOptions = {},
): AsyncGenerator {
  for await (const line of linesOf(chunks, longest)) {
    if (isLine(line) && !skip(line)) yield parseJson(line.toString('utf8'));
  }
}

async function* linesOf(chunks: AsyncIterable<Buffer>, longest: number): AsyncGenerator<Buffer> {
  let pending: Buffer[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      yield joined(pending, chunk.subarray(start, end));
      pending = [];
      length = 0;
      start = end + 1;
    }
    if (start < chunk.length) pending.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > longest) throw ApiError.network(BODY_TOO_LARGE);
  }
  yield Buffer.concat(pending);
}

const joined = (before: readonly Buffer[], end: Buffer): Buffer =>
  before.length === 0 ? end : Buffer.concat([...before, end]);

/** Not just a line break of another kind, or nothing. */
const isLine = (line: Buffer): boolean => line.length > 1 || line.toString().trim() !== '';

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
