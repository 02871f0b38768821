import { CLUSTER_PACKAGES, missingPackages } from './envtest/cluster/requirements.ts';
import { KEYCLOAK_PACKAGES } from './keycloak/server/distribution.ts';

/** `node dev/requirements.ts`: the Debian packages that `npm test` and `npm run e2e` lack here, for .ci/run. */

console.log((await missingPackages({ ...CLUSTER_PACKAGES, ...KEYCLOAK_PACKAGES })).join(' '));
