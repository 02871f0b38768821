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
  checkMethod(client);
  if (!client.publicClient && !client.bearerOnly) {
    const secret = fields.get('client_secret') ?? basic?.secret ?? '';
    if (secret === '' || secret !== client.secret)
      throw refusal(401, 'unauthorized_client', DESCRIPTION);
  }
  if (client.bearerOnly) throw refusal(400, 'invalid_client', 'Bearer-only not allowed');
  return client;
}

/** A client that proves itself in another way than by a secret. */
function checkMethod({ clientAuthenticatorType: type }: Client): void {
  if (type === 'client-x509') throw refusal(401, 'invalid_client', DESCRIPTION);
  if (type.endsWith('-jwt'))
    throw refusal(400, 'invalid_client', 'Parameter client_assertion_type is missing');
}

function basicCredentials(
  authorization: string | undefined,
): { id: string; secret: string } | undefined {
  if (!authorization?.startsWith('Basic ')) return undefined;
  const text = Buffer.from(authorization.slice('Basic '.length), 'base64').toString();
  const at = text.indexOf(':');
  if (at < 0) return undefined;
  return { id: decoded(text.slice(0, at)), secret: decoded(text.slice(at + 1)) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    const description = 'Unexpected error when authenticating client';
    throw refusal(400, 'unauthorized_client', description);
  }
}
