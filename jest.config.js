import { availableParallelism } from 'node:os';

/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024', parser: { syntax: 'typescript' } } }],
  },
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  collectCoverageFrom: ['src/**/*.ts', '!src/credential/api.ts'],
  coverageThreshold: {
    './src/domain/': { lines: 95, branches: 95 },
    './src/runtime/': { lines: 95, branches: 95 },
  },
  injectGlobals: false,
  // Real servers on a busy machine; nothing here is about speed.
  testTimeout: 180_000,
  // Many of the files start an API server, some Keycloak too: up to 1 GB each.
  maxWorkers: Math.max(1, Math.min(4, availableParallelism() - 1)),
};
