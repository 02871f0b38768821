import type { IncomingMessage } from 'node:http';
import type { Endpoint } from './faults.ts';
import { type Form, parseForm } from './form.ts';
import type { LegacyRequest } from './legacy-login.ts';
import { routeOf } from './routes.ts';

/** A request, read whole and parsed as far as any endpoint needs it. */
export type Asked = {
  endpoint: Endpoint;
  realm: string;
  path: string;
  body: string;
  form: Form;
  login: LegacyRequest;
};

const MAX_REQUEST_BYTES = 1024 * 1024;

/** The body of a request. @throws beyond 1 MiB */
export async function bodyOf(request: IncomingMessage): Promise<string> {
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

export function understood(request: IncomingMessage, body: string): Asked {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  const { endpoint, realm } = routeOf(path);
  const form = parseForm(body, request.headers['content-type'] ?? '');
  const login = endpoint === 'login' ? parseLogin(body) : {};
  return {
    endpoint,
    realm: endpoint === 'login' ? (login.org ?? '') : realm,
    path,
    body,
    form,
    login,
  };
}

function parseLogin(body: string): LegacyRequest {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

/** The secrets that the request carried, first the one that its grant rests on. */
export function secretsOf({ form: { fields }, login }: Asked): string[] {
  const names = ['password', 'refresh_token', 'token', 'client_secret'];
  return [login.password, ...names.map((name) => fields.get(name))].filter(
    (value) => value !== undefined,
  );
}
