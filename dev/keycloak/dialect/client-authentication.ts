import type { Client, Realm } from './realm.ts';
import { oauthError } from './response.ts';

const DESCRIPTION = 'Invalid client or Invalid client credentials';

/** The client of the form or of a Basic header. A field that is in both is taken from the form. */
export function authenticateClient(
  realm: Realm,
  fields: ReadonlyMap<string, string>,
  authorization: string | undefined,
): Client {
  const basic = basicCredentials(authorization);
  const client = realm.clients.get(fields.get('client_id') ?? basic?.id ?? '');
  if (!client?.enabled) throw oauthError(401, 'invalid_client', DESCRIPTION);
  checkMethod(client);
  if (!client.publicClient && !client.bearerOnly) {
    const secret = fields.get('client_secret') ?? basic?.secret ?? '';
    if (secret === '' || secret !== client.secret)
      throw oauthError(401, 'unauthorized_client', DESCRIPTION);
  }
  if (client.bearerOnly) throw oauthError(400, 'invalid_client', 'Bearer-only not allowed');
  return client;
}

/** @throws for a client that authenticates by a certificate or a signed JWT */
function checkMethod({ clientAuthenticatorType: type }: Client): void {
  if (type === 'client-x509') throw oauthError(401, 'invalid_client', DESCRIPTION);
  if (type.endsWith('-jwt'))
    throw oauthError(400, 'invalid_client', 'Parameter client_assertion_type is missing');
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
    throw oauthError(400, 'unauthorized_client', description);
  }
}
