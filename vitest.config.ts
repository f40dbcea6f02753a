import { defineConfig } from 'vitest/config'
import { ProgressReporter } from './test/reporter.ts'

const elsewhere = ['**/node_modules/**', '**/.tenantry/**', '**/.test/**']

// Two cores are what a small machine has: the three suites run one after the other, and end-to-end tests, which start the whole platform, one at a time.
export default defineConfig({
  test: {
    reporters: [new ProgressReporter()],
    pool: 'forks',
    teardownTimeout: 30_000,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...elsewhere, 'test/integration/**', 'test/e2e/**', 'test/cluster/**'],
          isolate: false,
          maxWorkers: 2,
          testTimeout: 20_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          exclude: elsewhere,
          globalSetup: ['test/servers.ts'],
          setupFiles: ['test/conformance.ts'],
          maxWorkers: 2,
          testTimeout: 90_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: elsewhere,
          globalSetup: ['test/platform.ts'],
          setupFiles: ['test/conformance.ts'],
          maxWorkers: 1,
          testTimeout: 180_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          exclude: elsewhere,
          globalSetup: ['test/platform.ts'],
          setupFiles: ['test/conformance.ts'],
          maxWorkers: 1,
          testTimeout: 900_000,
          hookTimeout: 900_000,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
})
