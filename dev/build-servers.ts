import { ensureBinaries } from './envtest/binaries.ts';
import { ensureAllTools } from './packaging/tools.ts';

/** `node dev/build-servers.ts`: builds or fetches all servers and tools of `npm test` into the cache. */

await ensureBinaries(console.log);
await ensureAllTools(console.log);
