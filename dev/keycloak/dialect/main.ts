import { parseArgs } from 'node:util';
import { readRealms } from '../realm-file.ts';
import { startIdentityProvider } from './identity-provider.ts';

const HELP = `Usage: node dev/keycloak/dialect/main.ts [--port N] [--host ADDRESS] [--realms FILE]
       [--version 26.5|26.6]

Serves the token endpoints of Keycloak realms, and /admin/ (see admin.ts), until Ctrl-C.
FILE holds one realm of a Keycloak export or an array of them; \${NAME} in it is taken from the environment.
`;

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    host: { type: 'string', default: '127.0.0.1' },
    version: { type: 'string', default: '26.6' },
    realms: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const provider = await startIdentityProvider({
  port: Number(values.port),
  host: values.host,
  version: values.version === '26.5' ? '26.5' : '26.6',
  admin: true,
});
for (const realm of values.realms ? await readRealms(values.realms, process.env) : []) {
  provider.realms.add(realm);
}
console.log(`identity provider at ${provider.url}`);
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void provider.close());
