const e2e = (file: string): string => `test/e2e/${file}.ts`;

/** The columns of Kubernetes, and the test files to which its version matters. A path that ends with `/` is a folder. */
export const SUITES: Readonly<Record<string, readonly string[]>> = {
  server: ['test/dev/control-plane.test.ts'],
  'CRD and policies': ['test/envtest/', 'test/crd/'],
  chart: [
    'test/packaging/install.slow.ts',
    'test/packaging/refusals.test.ts',
    'test/packaging/umbrella.test.ts',
  ],
  operator: [
    'operator.test',
    'grants.slow',
    'targets.test',
    'merge.slow',
    'tenants.slow',
    'namespaces.test',
    'prerequisites.slow',
    'recreated.slow',
    'sharding.slow',
    'outages.slow',
    'upgrade.slow',
  ].map(e2e),
  'kubectl convercus': [
    'test/cli/core.slow.ts',
    'test/cli/create.test.ts',
    'test/cli/doctor.slow.ts',
  ],
};

/** The column of Keycloak. */
export const CONTRACT = 'test/contract/keycloak.slow.ts';
