import { missingForControlPlane } from './envtest/binaries.ts';
import { missingForCluster } from './envtest/cluster/requirements.ts';
import { missingForKeycloak } from './keycloak/server/distribution.ts';
import { missingForTools } from './packaging/tools.ts';

/** What has to be installed before all of `npm test` can run here, one sentence each. */
export const missingForTests = async (): Promise<string[]> => [
  ...(await missingForControlPlane()),
  ...(await missingForTools()),
];

/** What has to be installed or allowed before `npm run e2e` can run here, one sentence each. */
export async function missingForEndToEnd(hasCluster: boolean): Promise<string[]> {
  const missing = [...(await missingForTests()), ...(await missingForKeycloak())];
  if (hasCluster) missing.push(...(await missingForCluster()));
  return [...new Set(missing)];
}
