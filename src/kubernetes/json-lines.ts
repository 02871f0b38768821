import type { WholeResponse } from '../lib/http.ts';
import { ApiError, BODY_TOO_LARGE, UNEXPECTED_BODY } from './api-error.ts';

const LINE_FEED = 0x0a;
const NOTHING = Buffer.alloc(0);

/**
 * Bytes of one object as JSON, at most. The API server takes requests of 3 MiB, of which etcd stores 1.5 MiB unless it is
 * told otherwise; `<`, which is one byte there, comes as `\u003c`.
 */
export const MAX_OBJECT = 20 * 1024 * 1024;

/**
 * The JSON values of a byte stream, one a line. It is cut into lines as bytes, for a chunk may end inside a character.
 * @throws ApiError when a line is too long or is no JSON
 */
export async function* jsonLines(
  chunks: AsyncIterable<Buffer>,
  maxLine = MAX_OBJECT,
): AsyncGenerator {
  const lines = new Lines(maxLine);
  for await (const chunk of chunks) {
    for (const line of lines.after(chunk)) {
      if (isLine(line)) yield parseJson(line.toString('utf8'));
    }
  }
  const rest = lines.rest();
  if (isLine(rest)) yield parseJson(rest.toString('utf8'));
}

class Lines {
  readonly #maxLine: number;
  #begun: Buffer[] = [];
  #length = 0;

  constructor(maxLine: number) {
    this.#maxLine = maxLine;
  }

  /** The lines that end in this chunk. */
  after(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#add(chunk.subarray(start, end));
      lines.push(this.rest());
      start = end + 1;
    }
    this.#add(chunk.subarray(start));
    return lines;
  }

  /** Takes the line that has begun and not ended. */
  rest(): Buffer {
    const [only = NOTHING, ...more] = this.#begun;
    const line = more.length === 0 ? only : Buffer.concat(this.#begun);
    this.#begun = [];
    this.#length = 0;
    return line;
  }

  #add(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#begun.push(piece);
    this.#length += piece.length;
    if (this.#length > this.#maxLine) throw ApiError.network(BODY_TOO_LARGE);
  }
}

/** False for an empty line, and for the `\r` of a `\r\n`. */
const isLine = (line: Buffer): boolean => line.length > 1 || line.toString().trim() !== '';

/**
 * The one JSON value of a body; undefined when it is empty.
 * @throws ApiError when it was too large or is no JSON
 */
export function jsonIn(body: WholeResponse['body']): unknown {
  if (body === 'too-large') throw ApiError.network(BODY_TOO_LARGE);
  return body.length === 0 ? undefined : parseJson(body.toString('utf8'));
}

/** Like JSON.parse, but the error does not quote the text. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw ApiError.network(UNEXPECTED_BODY);
  }
}
