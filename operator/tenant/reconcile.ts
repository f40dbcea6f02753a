import { isDeepStrictEqual } from 'node:util'
import type { TenantStatus } from '../../crds/tenant.ts'
import { TENANTS } from '../kubernetes/object.ts'
import type { Result } from '../loop/controller.ts'
import type { Logger } from '../loop/logger.ts'
import { latest } from '../postgres/migrations.ts'
import { applyTenant, type TenantOutcome, type TenantTools } from './apply.ts'
import { CATCH_UP_MS, type LastWrites } from './last-writes.ts'
import { lookAtDatabase, observeTenant, type Tenant, type TenantSources } from './observe.ts'
import { planTenant } from './plan.ts'
import { tenantStatus } from './status.ts'

/** What passes of Tenants work with. */
export type TenantContext = TenantSources & TenantTools & { tenant: (name: string) => Tenant | undefined; writes: LastWrites; log: Logger }

const DONE: Result = { kind: 'done' }
const WAIT: Result = { kind: 'wait' }
/** For what a person mends where no watch looks: in the database, in a Secret of somebody else, in another Tenant. */
const LOOK_AGAIN: Result = { kind: 'requeue', afterMs: 30_000 }
/** A pass of the Shard wakes those who wait for these. */
const SHARDS_MATTER: ReadonlySet<string> = new Set(['ShardNotFound', 'ShardNotReady', 'ShardUnreachable'])

/** One pass: looks at the Shard's database, does what is missing, says how it stands. */
export async function reconcileTenant(context: TenantContext, name: string, signal: AbortSignal): Promise<Result> {
  const tenant = context.tenant(name)
  if (tenant === undefined) return forget(context, name)
  if (context.writes.isBehind(tenant.metadata)) return { kind: 'requeue', afterMs: CATCH_UP_MS }
  const look = await lookAtDatabase(context, tenant)
  const world = observeTenant(context, tenant, look)
  const plan = planTenant(world, latest(context.migrations))
  try {
    const outcome = await applyTenant(context, world, plan, signal)
    return await report(context, tenant, outcome, signal)
  } catch (error) {
    context.occupancy.release(tenant.metadata.uid)
    throw error
  }
}

async function report(context: TenantContext, tenant: Tenant, outcome: TenantOutcome, signal: AbortSignal): Promise<Result> {
  if (outcome.kind === 'waits') return WAIT
  if (outcome.kind === 'gone') return DONE
  const status = tenantStatus(tenant, outcome, new Date())
  await writeStatus(context, tenant, status, outcome, signal)
  // An Event is for people; neither the next pass nor the place of this one waits for it.
  void tell(context, tenant, status)
  return resultOf(outcome)
}

/** A Tenant that went without our finalizer leaves no route behind. */
async function forget({ routing, writes }: TenantContext, name: string): Promise<Result> {
  writes.forget(name)
  await routing.removeName(name)
  return DONE
}

/**
 * A placement is written only onto the Tenant that was looked at: decided on a stale view, it would give a second home to one that has
 * its own. The rest is worked out again by each pass and needs no such guard.
 */
async function writeStatus(
  { client, writes }: TenantContext,
  tenant: Tenant,
  status: TenantStatus,
  outcome: TenantOutcome,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace, uid } = tenant.metadata
  if (isDeepStrictEqual(status, tenant.status)) return
  const guard = outcome.kind === 'placement' ? { resourceVersion: outcome.resourceVersion } : {}
  const body = { metadata: { name, uid, ...guard }, status }
  const written = await client.apply(TENANTS, namespace, body, { subresource: 'status', signal })
  writes.note(written.metadata)
}

/** An Event for each step that a person waits for, when it is taken or cannot be. */
async function tell({ recorder }: TenantContext, tenant: Tenant, status: TenantStatus): Promise<void> {
  for (const type of ['Placed', 'Ready']) {
    const after = status.conditions?.find((condition) => condition.type === type)
    const before = tenant.status?.conditions?.find((condition) => condition.type === type)
    if (after === undefined || (before?.status === after.status && before.reason === after.reason)) continue
    if (after.status === 'True') await recorder.record(tenant, 'Normal', after.reason, after.message)
    else if (type === 'Ready' && after.reason !== 'InProgress') await recorder.record(tenant, 'Warning', after.reason, after.message)
  }
}

/** What another object must mend first is waited for; what may pass is tried again after a backoff. */
function resultOf(outcome: TenantOutcome): Result {
  if (outcome.kind === 'placement') return outcome.placement.kind === 'placed' ? DONE : WAIT
  const failure = outcome.kind === 'stands' || outcome.kind === 'remains' ? outcome.failure : undefined
  if (failure === undefined) return DONE
  if (failure.cause !== undefined) throw failure.cause
  return SHARDS_MATTER.has(failure.reason) ? WAIT : LOOK_AGAIN
}
