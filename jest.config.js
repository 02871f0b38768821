import { availableParallelism, totalmem } from 'node:os';

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
    './src/{config,informers,operator}.ts': { lines: 95 },
    './src/controller/': { lines: 95 },
    './src/credential/': { lines: 95 },
    './src/kubernetes/': { lines: 95 },
    './src/lib/': { lines: 95 },
    './src/oauth/': { lines: 95 },
    './src/reconcile/': { lines: 95 },
    './src/telemetry/': { lines: 95 },
    './src/tokens/': { lines: 95 },
  },
  testSequencer: '<rootDir>/dev/jest-sequencer.js',
  injectGlobals: false,
  // Real servers on a busy machine; nothing here is about speed.
  testTimeout: 180_000,
  // Up to 1 GB each with an API server and an operator, which wait more than they work: one more than there are cores.
  maxWorkers: Math.max(
    1,
    Math.min(availableParallelism() + 1, Math.floor(totalmem() / 2 ** 31), 8),
  ),
};
