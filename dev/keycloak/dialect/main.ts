import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startIdentityProvider } from './identity-provider.ts';
import type { LegacyAccount } from './legacy-login.ts';
import type { RealmRepresentation } from './realm.ts';

const HELP = `Usage: node dev/keycloak/dialect/main.ts [--port N] [--host ADDRESS] [--era 26.5|26.6] [--realms FILE]

Serves the token endpoints of Keycloak realms, POST /auth/login, and /admin/ (see admin.ts).
FILE holds one realm of a Keycloak export or an array of them; \${NAME} in it is taken from the environment.
An extra key "legacyAccounts" ([{org, userName, password}]) of a realm feeds the legacy login.
`;

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    host: { type: 'string', default: '127.0.0.1' },
    era: { type: 'string', default: '26.6' },
    realms: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

type RealmFile = RealmRepresentation & { legacyAccounts?: readonly LegacyAccount[] };

function readRealms(file: string): RealmFile[] {
  const text = readFileSync(file, 'utf8').replaceAll(/\$\{(\w+)\}/g, (_, name: string) =>
    JSON.stringify(process.env[name] ?? '').slice(1, -1),
  );
  // The file is the developer's own; its shape is Keycloak's.
  const realms: RealmFile | RealmFile[] = JSON.parse(text);
  return [realms].flat();
}

if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const provider = await startIdentityProvider({
  port: Number(values.port),
  host: values.host,
  era: values.era === '26.5' ? '26.5' : '26.6',
  admin: true,
});
for (const { legacyAccounts = [], ...realm } of values.realms ? readRealms(values.realms) : []) {
  provider.realms.add(realm);
  provider.legacy.accounts.push(...legacyAccounts);
}
console.log(`identity provider at ${provider.url}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void provider.close());
