import { expect, test } from 'vitest'
import { TENANT_FINALIZER, TENANT_PLACED, TENANT_REASONS, type TenantStatus } from '../../crds/tenant.ts'
import type { Home } from '../routing/build.ts'
import type { TenantOutcome } from './apply.ts'
import type { Tenant } from './home.ts'
import { placementNote, shardOf } from './home.ts'
import type { Failure } from './plan.ts'
import { tenantStatus } from './status.ts'

const NOW = new Date('2026-01-01T00:00:00Z')
const LATER = new Date('2026-01-02T00:00:00Z')
const home: Home = { shard: 'a', isolation: 'schema', database: 'd', schema: 's', role: 's', epoch: 1, schemaVersion: 2 }

const tenant = (status?: TenantStatus, metadata: Partial<Tenant['metadata']> = {}): Tenant => ({
  apiVersion: 'tenantry.dev/v1alpha1',
  kind: 'Tenant',
  metadata: {
    name: 'acme',
    namespace: 'ns',
    uid: 'u',
    resourceVersion: '1',
    creationTimestamp: '',
    generation: 1,
    finalizers: [TENANT_FINALIZER],
    ...metadata,
  },
  spec: { plan: 'free', isolation: 'schema', suspended: false, deletionPolicy: 'Retain', deletionProtection: false },
  ...(status === undefined ? {} : { status }),
})
const verdict = { kind: 'verified', attempts: 9 } as const
const stands = (failure?: Failure, suspension?: string): Extract<TenantOutcome, { kind: 'stands' }> => ({
  kind: 'stands',
  home,
  failure,
  suspension,
  verdict: failure === undefined ? verdict : undefined,
})
const told = ({ conditions = [] }: TenantStatus) => conditions.map(({ type, status, reason }) => `${type}=${status} ${reason}`).sort()
const placed = { annotations: placementNote('u', { kind: 'placed', shard: 'a', reason: 'LeastLoadedShard', message: 'Placed.' }) }

test('from nothing to Ready, and then no change', () => {
  const first = tenantStatus(tenant(undefined, placed), { kind: 'begun' }, NOW)
  expect(first).toMatchObject({ phase: 'Provisioning', shard: 'a', observedGeneration: 1 })
  expect(told(first)).toEqual([
    'IsolationVerified=Unknown Waiting',
    'Placed=True LeastLoadedShard',
    'Provisioned=Unknown InProgress',
    'Ready=False InProgress',
    'Reconciling=True InProgress',
    'Routed=Unknown Waiting',
    'SchemaCurrent=Unknown Waiting',
  ])
  const second = tenantStatus(tenant(first), stands(), LATER)
  expect(second).toMatchObject({ phase: 'Ready', ...home })
  expect(told(second)).toEqual([
    'IsolationVerified=True BreakInRefused',
    'Placed=True LeastLoadedShard',
    'Provisioned=True Provisioned',
    'Ready=True TenantReady',
    'Routed=True Published',
    'SchemaCurrent=True SchemaCurrent',
  ])
  expect(tenantStatus(tenant(second), stands(), new Date())).toEqual(second)
  expect(told(tenantStatus(tenant(undefined, placed), stands(), NOW))).toEqual(told(second))
})

test('a placement that a copied manifest brought along is not believed, nor one that spec.shardRef contradicts', () => {
  expect(shardOf(tenant(undefined, placed))).toBe('a')
  expect(shardOf(tenant(undefined, { ...placed, uid: 'another' }))).toBeUndefined()
  expect(shardOf(tenant(undefined, { annotations: { [TENANT_PLACED]: 'shard-a' } }))).toBeUndefined()
  const failure: Failure = { stage: 'Provisioned', reason: 'PlacedElsewhere', message: 'Name it again.' }
  const status = tenantStatus(tenant(undefined, placed), { ...stands(failure), home: undefined }, NOW)
  expect(status.shard).toBeUndefined()
  expect(told(status)).toContain('Stalled=True PlacedElsewhere')
})

test('an unplaced Tenant is Pending, with the reason', () => {
  const placement = { kind: 'unplaced', reason: 'ShardNotFound', message: 'Create it.' } as const
  const status = tenantStatus(tenant(), { kind: 'unplaced', placement }, NOW)
  expect(status).toMatchObject({ phase: 'Pending' })
  expect(status.shard).toBeUndefined()
  expect(told(status)).toContain('Placed=False ShardNotFound')
})

test('a Shard that does not answer takes Ready away and leaves what was known', () => {
  const ready = tenantStatus(tenant({ shard: 'a' }), stands(), NOW)
  const failure: Failure = { stage: 'Provisioned', reason: 'ShardUnreachable', message: 'No answer.' }
  const status = tenantStatus(tenant(ready), stands(failure), LATER)
  expect(status).toMatchObject({ ...home, phase: 'Provisioning' })
  expect(told(status)).toEqual([
    'IsolationVerified=True BreakInRefused',
    'Placed=True NamedShard',
    'Provisioned=Unknown ShardUnreachable',
    'Ready=False ShardUnreachable',
    'Reconciling=True ShardUnreachable',
    'Routed=True Published',
    'SchemaCurrent=True SchemaCurrent',
  ])
})

test('what only a person can mend is Stalled and Failed; a deleted one is Deleting whatever it waits for', () => {
  const failure: Failure = { stage: 'Provisioned', reason: 'NameConflict', message: 'Rename it.' }
  expect(tenantStatus(tenant({ shard: 'a' }), stands(failure), NOW)).toMatchObject({ phase: 'Failed' })
  expect(told(tenantStatus(tenant({ shard: 'a' }), stands(failure), NOW))).toContain('Stalled=True NameConflict')
  expect(tenantStatus(tenant({ shard: 'a' }, { deletionTimestamp: 'now' }), { kind: 'remains', failure }, NOW).phase).toBe('Deleting')
})

test('a wall that is down takes Ready away and names the fault; one that could not be tried does not', () => {
  const failure: Failure = { stage: 'IsolationVerified', reason: 'NeighbourReached', message: 'read row' }
  const down = tenantStatus(tenant({ shard: 'a' }), stands(failure), NOW)
  expect(down.phase).toBe('Failed')
  expect(told(down)).toEqual(expect.arrayContaining(['IsolationVerified=False NeighbourReached', 'Ready=False NeighbourReached']))
  const unclear = tenantStatus(tenant({ shard: 'a' }), { ...stands(), verdict: { kind: 'unclear', what: ['read row 42P01'] } }, NOW)
  expect(told(unclear)).toEqual(expect.arrayContaining(['IsolationVerified=Unknown NotVerified', 'Ready=True TenantReady']))
})

test('TI-08: a suspended Tenant is Suspended, not Ready, and nothing of it is in question; what is amiss is said first', () => {
  const ready = tenantStatus(tenant({ shard: 'a' }), stands(), NOW)
  const status = tenantStatus(tenant(ready), stands(undefined, 'Set it to false.'), LATER)
  expect(status).toMatchObject({ ...home, phase: 'Suspended' })
  expect(told(status)).toEqual([
    'IsolationVerified=True BreakInRefused',
    'Placed=True NamedShard',
    'Provisioned=True Provisioned',
    'Ready=False Suspended',
    'Routed=True Published',
    'SchemaCurrent=True SchemaCurrent',
  ])
  expect(tenantStatus(tenant(status), stands(), NOW)).toMatchObject({ phase: 'Ready' })
  const failure: Failure = { stage: 'Provisioned', reason: 'ShardUnreachable', message: 'No answer.' }
  expect(told(tenantStatus(tenant(status), stands(failure, 'Set it to false.'), NOW))).toContain('Ready=False ShardUnreachable')
})

test('every reason is in the documented list and stands for the generation', () => {
  const status = tenantStatus(tenant({ shard: 'a' }, { generation: 7 }), stands(), NOW)
  for (const condition of status.conditions ?? []) {
    expect(Object.keys(TENANT_REASONS)).toContain(condition.reason)
    expect(condition.observedGeneration).toBe(7)
  }
})
