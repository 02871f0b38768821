import { ensureBinaries } from './envtest/binaries.ts';
import { ensureKeycloak } from './keycloak/server/distribution.ts';
import { ensureAllTools } from './packaging/tools.ts';

/** `node dev/build-servers.ts`: everything that `npm test` starts is in the cache afterwards. */

await ensureBinaries(console.log);
await ensureAllTools(console.log);
await ensureKeycloak(console.log);
