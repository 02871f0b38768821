import { refusal } from './answer.ts';
import type { Client, Realm } from './realm.ts';

const DESCRIPTION = 'Invalid client or Invalid client credentials';

/** The client that the form or a Basic header proves to be; where both speak, the form wins per field. */
export function authenticateClient(
  realm: Realm,
  fields: ReadonlyMap<string, string>,
  authorization: string | undefined,
): Client {
  const basic = basicCredentials(authorization);
  const client = realm.clients.get(fields.get('client_id') ?? basic?.id ?? '');
  if (!client?.enabled) throw refusal(401, 'invalid_client', DESCRIPTION);
  if (!client.publicClient && !client.bearerOnly) {
    const secret = fields.get('client_secret') ?? basic?.secret ?? '';
    if (secret === '' || secret !== client.secret)
      throw refusal(401, 'unauthorized_client', DESCRIPTION);
  }
  if (client.bearerOnly) throw refusal(400, 'invalid_client', 'Bearer-only not allowed');
  return client;
}

function basicCredentials(
  authorization: string | undefined,
): { id: string; secret: string } | undefined {
  if (!authorization?.startsWith('Basic ')) return undefined;
  const text = Buffer.from(authorization.slice('Basic '.length), 'base64').toString();
  const at = text.indexOf(':');
  if (at < 0) return undefined;
  return {
    id: decodeURIComponent(text.slice(0, at)),
    secret: decodeURIComponent(text.slice(at + 1)),
  };
}
