import { join } from 'node:path';
import { type Realm, readRealms } from '../keycloak/realm-file.ts';

/**
 * The realm `abc`, configured like one of Convercus: client `machine-2-machine`, user `api-user`, access tokens of
 * 1800 s, refresh tokens of a week that can be used once, brute-force detection. Spread it to vary it.
 */
export async function abcRealm(clientSecret: string, userPassword: string): Promise<Realm> {
  const file = join(import.meta.dirname, 'abc-realm.json');
  const values = { ABC_CLIENT_SECRET: clientSecret, ABC_USER_PASSWORD: userPassword };
  const [realm] = await readRealms(file, values);
  if (realm === undefined) throw new Error(`${file} has no realm`);
  return realm;
}
