import { expect, test } from 'vitest'
import type { ShardStatus } from '../../crds/shard.ts'
import type { Shard } from './observe.ts'
import { shardStatus, withSteadyUse } from './status.ts'

const NOW = new Date('2026-01-01T00:00:00Z')
const shard = (status?: ShardStatus, metadata: Partial<Shard['metadata']> = {}): Shard => ({
  apiVersion: 'tenantry.dev/v1alpha1',
  kind: 'Shard',
  metadata: { name: 'a', namespace: 'ns', uid: 'u', resourceVersion: '1', creationTimestamp: '', generation: 3, ...metadata },
  spec: {
    endpoint: { host: 'h', port: 1, database: 'd' },
    adminSecretRef: { name: 's' },
    tls: { mode: 'disable' },
    capacity: { tenants: 1, connections: 80 },
    isolations: ['schema'],
    schedulable: true,
    warmSchemas: 0,
  },
  ...(status === undefined ? {} : { status }),
})
const told = ({ conditions = [] }: ShardStatus) => conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`).sort()

test('a Ready Shard says so once', () => {
  const status = shardStatus(shard(), { kind: 'ready', serverVersion: '18.4' }, 2, NOW)
  expect(status).toMatchObject({ observedGeneration: 3, serverVersion: '18.4', tenants: 2 })
  expect(told(status)).toEqual(['Reachable=True Reachable', 'Ready=True ShardReady'])
  expect(shardStatus(shard(status), { kind: 'ready', serverVersion: '18.4' }, 2, new Date())).toEqual(status)
})

test('PG-19: a Shard whose server has a known fault of row-level security is Ready and says so', () => {
  const status = shardStatus(shard(), { kind: 'ready', serverVersion: '16.4', warning: 'Upgrade to 16.10.' }, 2, NOW)
  expect(told(status)).toEqual(['Reachable=True Reachable', 'Ready=True ShardReady'])
  expect(status.conditions?.find(({ type }) => type === 'Reachable')?.message).toBe('Logged in to Postgres 16.4. Upgrade to 16.10.')
})

test('an outage keeps what was known and is not Stalled; what a person must mend is, until it is mended', () => {
  const before = shardStatus(shard(), { kind: 'ready', serverVersion: '18.4' }, 2, NOW)
  const outage = shardStatus(shard(before), { kind: 'failed', reason: 'Unreachable', message: 'No answer.' }, 2, NOW)
  expect(outage.serverVersion).toBe('18.4')
  expect(told(outage)).toEqual(['Reachable=False Unreachable', 'Ready=False Unreachable'])
  const stalled = shardStatus(
    shard(outage),
    { kind: 'failed', reason: 'AdminIsSuperuser', message: 'Use another.', serverVersion: '18.4' },
    2,
    NOW,
  )
  expect(told(stalled)).toEqual(['Reachable=True Reachable', 'Ready=False AdminIsSuperuser', 'Stalled=True AdminIsSuperuser'])
  expect(told(shardStatus(shard(stalled), { kind: 'ready', serverVersion: '18.4' }, 2, NOW))).toEqual([
    'Reachable=True Reachable',
    'Ready=True ShardReady',
  ])
})

test('a Shard to be deleted stays Ready for those who live there, and says how many they are', () => {
  const ready = shardStatus(shard(), { kind: 'ready', serverVersion: '18.4' }, 2, NOW)
  const deleting = { deletionTimestamp: 'now' }
  const status = shardStatus(shard(ready, deleting), { kind: 'ready', serverVersion: '18.4' }, 2, NOW)
  expect(told(status)).toEqual(['Reachable=True Reachable', 'Ready=True ShardReady', 'Stalled=True TenantsRemain'])
  expect(status.conditions?.find(({ type }) => type === 'Stalled')?.message).toContain('the 2 Tenants that live here')
  expect(shardStatus(shard(status, deleting), { kind: 'ready', serverVersion: '18.4' }, 2, new Date())).toEqual(status)
})

test('OP-20: connections that come and go are told when they make a tenth of the budget, or with what else there is to tell', () => {
  const seen = (used: number, tenants = 2) =>
    shardStatus(
      shard(),
      { kind: 'ready', serverVersion: '18.4', connections: { budget: 80, replicas: 2, perReplica: 31, used } },
      tenants,
      NOW,
    )
  const before = seen(20)
  for (const used of [13, 20, 27]) expect(withSteadyUse(seen(used), before)).toEqual(before)
  for (const used of [12, 28]) expect(withSteadyUse(seen(used), before).connections).toMatchObject({ used })
  expect(withSteadyUse(seen(21, 3), before)).not.toEqual(before)
  const outage = shardStatus(shard(before), { kind: 'failed', reason: 'Unreachable', message: 'No answer.' }, 2, NOW)
  expect(outage.connections).toEqual(before.connections)
})
