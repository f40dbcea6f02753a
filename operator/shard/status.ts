import { type Condition, removeCondition, setCondition } from '../../crds/condition.ts'
import type { ShardCondition, ShardConnections, ShardReason, ShardStatus } from '../../crds/shard.ts'
import type { Shard } from './observe.ts'

/** How a pass ended, and what it has seen until then. `nextMs`: when there is more to do without a change. */
export type ShardOutcome =
  | (Seen & { kind: 'ready'; serverVersion: string; warning?: string | undefined; nextMs?: number | undefined })
  | (Seen & { kind: 'failed'; reason: ShardReason; message: string })

type Seen = { serverVersion?: string; connections?: ShardConnections }

// What only a person can mend: the pass is taken again, but says so.
const STALLED: ReadonlySet<ShardReason> = new Set<ShardReason>([
  'AdminSecretMissing',
  'AdminSecretInvalid',
  'CaSecretMissing',
  'CaSecretInvalid',
  'TlsNotOffered',
  'CertificateInvalid',
  'AuthenticationFailed',
  'VersionUnsupported',
  'AdminIsSuperuser',
  'AdminRightsMissing',
  'NameConflict',
  'RuntimeLoginRefused',
  'ConnectionBudgetTooSmall',
])

/** The status that tells of the outcome; equal to the one before when nothing has changed. */
export function shardStatus(shard: Shard, outcome: ShardOutcome, tenants: number, now: Date): ShardStatus {
  const status = outcomeStatus(shard, outcome, tenants, now)
  return shard.metadata.deletionTimestamp === undefined ? status : withRemaining(shard, status, tenants, now)
}

/**
 * The status with the number of connections that was told before, unless that is off by a tenth of the budget: they come and go, and a few
 * more or less are told with what else there is to tell.
 */
export function withSteadyUse(status: ShardStatus, before: ShardStatus | undefined): ShardStatus {
  const [now, then] = [status.connections, before?.connections]
  if (now === undefined || then === undefined || Math.abs(now.used - then.used) * 10 >= now.budget) return status
  return { ...status, connections: { ...now, used: then.used } }
}

/** A Shard to be deleted is worked on as before, for those who still live there: only Stalled tells of it. */
function withRemaining({ metadata, status }: Shard, told: ShardStatus, tenants: number, now: Date): ShardStatus {
  const message = `To be deleted, which waits for the ${tenants} Tenants that live here: delete them, and the Shard goes with the last. Those whose data is kept after that do not count.`
  const stalled = status?.conditions?.filter(({ type }) => type === 'Stalled') ?? []
  const before = [...removeCondition(told.conditions ?? [], 'Stalled'), ...stalled]
  const finding = {
    type: 'Stalled',
    status: 'True',
    reason: 'TenantsRemain',
    message,
    observedGeneration: metadata.generation ?? 0,
  } as const
  return { ...told, conditions: setCondition(before, finding, now) }
}

function outcomeStatus(shard: Shard, outcome: ShardOutcome, tenants: number, now: Date): ShardStatus {
  const observedGeneration = shard.metadata.generation ?? 0
  const serverVersion = outcome.serverVersion ?? shard.status?.serverVersion
  const connections = outcome.connections ?? shard.status?.connections
  const set = (conditions: readonly Condition[], type: ShardCondition, ok: boolean, reason: ShardReason, message: string) =>
    setCondition(conditions, { type, status: ok ? 'True' : 'False', reason, message, observedGeneration }, now)

  const before = removeCondition(shard.status?.conditions ?? [], 'Stalled')
  const seen = { ...(serverVersion === undefined ? {} : { serverVersion }), ...(connections === undefined ? {} : { connections }) }
  const base = { observedGeneration, tenants, ...seen }
  if (outcome.kind === 'ready') {
    const ready = set(before, 'Ready', true, 'ShardReady', 'Tenants can be placed here.')
    return { ...base, conditions: set(ready, 'Reachable', true, 'Reachable', reachedMessage(outcome)) }
  }
  const { reason, message } = outcome
  const ready = set(before, 'Ready', false, reason, message)
  const reached = outcome.serverVersion !== undefined
  const reachable = reached
    ? set(ready, 'Reachable', true, 'Reachable', `Logged in to Postgres ${outcome.serverVersion}.`)
    : set(ready, 'Reachable', false, reason, message)
  if (!STALLED.has(reason)) return { ...base, conditions: reachable }
  const stalled = shard.status?.conditions?.filter((condition) => condition.type === 'Stalled') ?? []
  return { ...base, conditions: set([...reachable, ...stalled], 'Stalled', true, reason, message) }
}

function reachedMessage({ serverVersion, warning }: Extract<ShardOutcome, { kind: 'ready' }>): string {
  const reached = `Logged in to Postgres ${serverVersion}.`
  return warning === undefined ? reached : `${reached} ${warning}`
}
