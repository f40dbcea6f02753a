import { type Condition, removeCondition, setCondition } from '../../crds/condition.ts'
import type { TenantCondition, TenantPhase, TenantReason, TenantStatus } from '../../crds/tenant.ts'
import type { Home } from '../routing/build.ts'
import type { TenantOutcome } from './apply.ts'
import type { Tenant } from './home.ts'
import { notedPlacement, shardOf } from './home.ts'
import type { Failure, Stage } from './plan.ts'

const STAGES = ['Placed', 'Provisioned', 'SchemaCurrent', 'IsolationVerified', 'Routed'] as const

// What only a person can mend.
const STALLED: ReadonlySet<TenantReason> = new Set<TenantReason>([
  'NameConflict',
  'AdoptRefused',
  'DataMissing',
  'MigrationFailed',
  'ProvisioningFailed',
  'HostTaken',
  'ShardNotFound',
  'ShardFull',
  'ShardCordoned',
  'PlacedElsewhere',
  'NeighbourReached',
  'RoleTooPowerful',
  'ForeignAccess',
  'RowSecurityOff',
  'UnsafeObject',
  'IsolationNotOffered',
])
const FAILED: ReadonlySet<TenantReason> = new Set<TenantReason>([
  'NameConflict',
  'AdoptRefused',
  'DataMissing',
  'MigrationFailed',
  'ProvisioningFailed',
  'NeighbourReached',
  'RoleTooPowerful',
  'ForeignAccess',
  'RowSecurityOff',
  'UnsafeObject',
])
// What says nothing of the stage itself, only that it could not be looked at.
const UNSEEN: ReadonlySet<TenantReason> = new Set<TenantReason>(['ShardUnreachable', 'ShardNotReady', 'Waiting', 'InProgress'])

type Said = { status: Condition['status']; reason: string; message: string }
/** `begun`: the work takes a while, and this much can be said. */
type Told = Exclude<TenantOutcome, { kind: 'waits' | 'gone' | 'placed' }> | { kind: 'begun' }

/** The status that tells of the outcome, all but `usage`, which is sampled apart; equal to the one before when nothing has changed. */
export function tenantStatus(tenant: Tenant, outcome: Told, now: Date): TenantStatus {
  const generation = tenant.metadata.generation ?? 0
  const failure = failureOf(tenant, outcome)
  const home = outcome.kind === 'stands' ? outcome.home : undefined
  const failedAt = failure === undefined ? STAGES.length : STAGES.indexOf(failure.stage)
  const stages = STAGES.map((stage, index): [TenantCondition, Said] => {
    if (index === failedAt && failure !== undefined)
      return [stage, { status: UNSEEN.has(failure.reason) ? 'Unknown' : 'False', reason: failure.reason, message: failure.message }]
    return [stage, index < failedAt ? reached(stage, tenant, outcome, home) : later(stage, tenant)]
  })
  const suspension = outcome.kind === 'stands' && failure === undefined ? outcome.suspension : undefined
  const all: [TenantCondition, Said][] = [...stages, ['Ready', readyOf(failure, suspension)]]
  const set = (conditions: Condition[], [type, said]: [TenantCondition, Said]) =>
    setCondition(conditions, { type, ...said, observedGeneration: generation }, now)
  const passing = passingConditions(failure)
  const before = ['Reconciling', 'Stalled']
    .filter((type) => !passing.some(([name]) => name === type))
    .reduce(removeCondition, tenant.status?.conditions ?? [])
  return {
    ...placeOf(tenant, failure),
    ...home,
    observedGeneration: generation,
    phase: phaseOf(tenant, failure, suspension),
    conditions: [...all, ...passing].reduce<Condition[]>(set, [...before]),
  }
}

/** What stands in the way of Ready; begun, but no more than that, is such a thing too. */
function failureOf(tenant: Tenant, outcome: Told): Failure | undefined {
  if (outcome.kind === 'unplaced') return { stage: 'Placed', ...outcome.placement }
  if (outcome.kind !== 'begun') return outcome.failure
  return { stage: 'Provisioned', reason: 'InProgress', message: `It is being made on Shard ${shardOf(tenant)}.` }
}

function placeOf(tenant: Tenant, failure: Failure | undefined): TenantStatus {
  const { conditions: _conditions, phase: _phase, observedGeneration: _generation, usage: _usage, ...place } = tenant.status ?? {}
  const shard = failure?.reason === 'PlacedElsewhere' ? undefined : shardOf(tenant)
  return { ...(shard === undefined ? {} : { shard }), ...place }
}

function readyOf(failure: Failure | undefined, suspension: string | undefined): Said {
  if (failure !== undefined) return { status: 'False', reason: failure.reason, message: failure.message }
  if (suspension !== undefined) return { status: 'False', reason: 'Suspended', message: suspension }
  return { status: 'True', reason: 'TenantReady', message: 'The next request is served.' }
}

function phaseOf(tenant: Tenant, failure: Failure | undefined, suspension: string | undefined): TenantPhase {
  if (tenant.metadata.deletionTimestamp !== undefined) return 'Deleting'
  if (failure === undefined) return suspension === undefined ? 'Ready' : 'Suspended'
  if (failure.stage === 'Placed') return 'Pending'
  return FAILED.has(failure.reason) ? 'Failed' : 'Provisioning'
}

function reached(stage: Stage, tenant: Tenant, outcome: Told, home: Home | undefined): Said {
  const said = (reason: TenantReason, message: string): Said => ({ status: 'True', reason, message })
  if (stage === 'Placed') return placedBefore(tenant)
  if (stage === 'Provisioned') return said('Provisioned', standing(home))
  if (stage === 'IsolationVerified') return wall(tenant, outcome)
  if (stage === 'SchemaCurrent') return said('SchemaCurrent', `All ${home?.schemaVersion} migrations have run.`)
  return said('Published', 'The route stands in the routing config.')
}

function wall(tenant: Tenant, outcome: Told): Said {
  const verdict = outcome.kind === 'stands' ? outcome.verdict : undefined
  if (verdict?.kind === 'verified') {
    const message = `All ${verdict.attempts} attempts to reach a neighbour with this tenant's access were refused, and the catalog shows no other way.`
    return { status: 'True', reason: 'BreakInRefused', message }
  }
  if (verdict === undefined) return later('IsolationVerified', tenant)
  return { status: 'Unknown', reason: 'NotVerified', message: `It could not be tried: ${verdict.what.join('; ')}. It is tried again.` }
}

function standing(home: Home | undefined): string {
  if (home?.isolation === 'row') return `Its rows stand in schema ${home.schema} of database ${home.database}, behind row-level security.`
  if (home?.isolation === 'database') return `Database ${home.database} and its login stand.`
  return `Schema ${home?.schema} and its role stand in database ${home?.database}.`
}

function placedBefore(tenant: Tenant): Said {
  const before = tenant.status?.conditions?.find(({ type }) => type === 'Placed')
  if (before?.status === 'True') return { status: 'True', reason: before.reason, message: before.message }
  const { reason, message } = notedPlacement(tenant) ?? { reason: 'NamedShard', message: `Lives on Shard ${shardOf(tenant)}.` }
  return { status: 'True', reason, message }
}

/** A stage that was not come to keeps what was last known of it. */
function later(stage: Stage, { status }: Tenant): Said {
  const before = status?.conditions?.find(({ type }) => type === stage)
  if (before?.status === 'True') return { status: 'True', reason: before.reason, message: before.message }
  return { status: 'Unknown', reason: 'Waiting', message: 'Waits for the steps before it.' }
}

function passingConditions(failure: Failure | undefined): [TenantCondition, Said][] {
  if (failure === undefined) return []
  const said: Said = { status: 'True', reason: failure.reason, message: failure.message }
  return [[STALLED.has(failure.reason) ? 'Stalled' : 'Reconciling', said]]
}
