import { CLUSTER_PACKAGES, missingPackages } from './envtest/cluster/requirements.ts';
import { KEYCLOAK_PACKAGES } from './keycloak/server/distribution.ts';

/** `node dev/requirements.ts`: the Debian packages that `npm test` and `npm run e2e` lack here, for .ci/run. */

/** Without it the test of the client in PHP is skipped. */
const EXAMPLES = { php: 'php-cli' };

/** Without them test/packaging/arm64.slow.ts is skipped. */
const ARM64 = {
  '/usr/bin/qemu-aarch64-static': 'qemu-user-static',
  '/usr/aarch64-linux-gnu/lib/libc.so.6': 'libc6-arm64-cross',
  '/usr/aarch64-linux-gnu/lib/libstdc++.so.6': 'libstdc++6-arm64-cross',
  '/usr/aarch64-linux-gnu/lib/libatomic.so.1': 'libatomic1-arm64-cross',
};

const packages = await missingPackages({
  ...CLUSTER_PACKAGES,
  ...KEYCLOAK_PACKAGES,
  ...EXAMPLES,
  ...(process.arch === 'x64' ? ARM64 : {}),
});
console.log(packages.join(' '));
