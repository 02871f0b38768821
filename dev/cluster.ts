import { serveCluster } from './envtest/cluster/serve.ts';
import { operatorImage } from './operator-image.ts';

/** `sudo node dev/cluster.ts`: a one-node cluster with the operator's image `dev` loaded, until Ctrl-C. */

process.exitCode = await serveCluster([operatorImage('dev')]);
