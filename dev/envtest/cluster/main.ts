import { serveCluster } from './serve.ts';

/** `sudo node dev/envtest/cluster/main.ts`: a one-node cluster that runs nothing, until Ctrl-C. */

process.exitCode = await serveCluster([]);
