import { expect, test } from 'vitest'
import { SettingsError } from '../config/settings.ts'
import { describeSettings, readSettings } from './settings.ts'

const FOLDERS = { TENANTRY_ROUTING_FOLDER: '/routing', TENANTRY_CREDENTIALS_FOLDER: '/credentials', TENANTRY_EVENTS: 'off' }

function faultsOf(environment: NodeJS.ProcessEnv): readonly string[] {
  try {
    readSettings(environment)
    return []
  } catch (error) {
    return error instanceof SettingsError ? error.faults : [String(error)]
  }
}

test('the defaults hold for what is not set', () => {
  expect(readSettings(FOLDERS)).toMatchObject({ port: 8080, metricsPort: 9090, baseDomain: 'localhost', cache: true, natsUrl: undefined })
})

test('in a pod the API server is found', () => {
  const settings = readSettings({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443', TENANTRY_EVENTS: 'off' })
  expect(settings.routing).toMatchObject({ kind: 'cluster', url: 'https://[fd00::1]:443', namespace: 'tenantry' })
})

test('all faults are told together', () => {
  const faults = faultsOf({ TENANTRY_PORT: 'x', TENANTRY_BODY_LIMIT_BYTES: '0', TENANTRY_REDIS_ULR: 'redis://x' })
  const named = faults.map((fault) => fault.split(/[: ]/)[0]).sort()
  expect(named).toEqual([
    'TENANTRY_BODY_LIMIT_BYTES',
    'TENANTRY_NATS_URL',
    'TENANTRY_PORT',
    'TENANTRY_REDIS_ULR',
    'TENANTRY_ROUTING_FOLDER',
  ])
})

test('one folder without the other is a fault', () => {
  expect(faultsOf({ TENANTRY_ROUTING_FOLDER: '/routing', TENANTRY_EVENTS: 'off' })).toHaveLength(1)
})

test('help names every setting with its default', () => {
  expect(describeSettings()).toMatch(/TENANTRY_PORT .*\(8080\)/)
})

test.each([
  ['10.0.0.1', true],
  ['10.0.0.0/8, fd00::/8,::1', true],
  ['10.0.0.0/33', false],
  ['fd00::/129', false],
  ['10.0.0.0/-1', false],
  ['10.0.0.1:80', false],
  ['gateway.internal', false],
  ['10.0.0.1,', false],
  ['*', false],
  ['0.0.0.0/0x1', false],
])('TI-01: gateways at %s: %s', (text, isGood) => {
  const faults = faultsOf({ ...FOLDERS, TENANTRY_GATEWAY_ADDRESSES: text })
  expect(faults.map((fault) => fault.split(':')[0])).toEqual(isGood ? [] : ['TENANTRY_GATEWAY_ADDRESSES'])
})
