import { expect, test } from 'vitest'
import { SettingsError } from '../config/settings.ts'
import { readSettings } from './settings.ts'

test('has a default for everything', () => {
  expect(readSettings({})).toMatchObject({ namespace: 'tenantry', metricsPort: 9090, workers: 8, resyncMs: 600_000, logLevel: 'info' })
})

test('reports all faults together, misspelt names included', () => {
  const faults = (() => {
    try {
      readSettings({ TENANTRY_METRICS_PORT: 'x', TENANTRY_WORKERS: '0', TENANTRY_WORKER: '3' })
      return []
    } catch (error) {
      return error instanceof SettingsError ? error.faults : []
    }
  })()
  expect(faults.map((fault) => fault.split(':')[0])).toEqual(['TENANTRY_METRICS_PORT', 'TENANTRY_WORKERS', 'TENANTRY_WORKER'])
})
