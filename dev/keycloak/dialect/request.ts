import type { IncomingMessage } from 'node:http';
import type { ExtraEndpoint, RequestFacts } from './extra-endpoint.ts';
import { type Form, parseForm } from './form.ts';
import { routeOf } from './routes.ts';

/** A request with its whole body. */
export type ParsedRequest = RequestFacts & {
  method: string;
  path: string;
  body: string;
  form: Form;
  /** An `Endpoint`, or the name of `extra`. */
  endpoint: string;
  extra: ExtraEndpoint | undefined;
};

const MAX_REQUEST_BYTES = 1024 * 1024;
/** Form fields that hold a secret, first the one that the log hashes. */
const SECRET_FIELDS = ['password', 'refresh_token', 'token', 'client_secret'];

/** @throws when the body is larger than 1 MiB */
export async function readBody(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request) {
    const bytes: Buffer = piece;
    pieces.push(bytes);
    size += bytes.length;
    if (size > MAX_REQUEST_BYTES) throw new Error('request body too large');
  }
  return Buffer.concat(pieces).toString();
}

export function parseRequest(
  request: IncomingMessage,
  body: string,
  extras: readonly ExtraEndpoint[],
): ParsedRequest {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  const form = parseForm(body, request.headers['content-type'] ?? '');
  const common = { method: request.method ?? '', path, body, form };
  const extra = extras.find((endpoint) => endpoint.path === path);
  if (extra) return { ...common, endpoint: extra.name, extra, ...extra.factsOf(body) };
  const username = form.fields.get('username') ?? '';
  const secrets = SECRET_FIELDS.flatMap((name) => form.fields.get(name) ?? []);
  return { ...common, ...routeOf(path), extra, username, secrets };
}
