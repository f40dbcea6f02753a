import { isDeepStrictEqual } from 'node:util'
import type { TenantStatus } from '../../crds/tenant.ts'
import { TENANTS } from '../kubernetes/object.ts'
import type { Result } from '../loop/controller.ts'
import { latestOf } from '../postgres/migrations.ts'
import { applyTenant, type TenantOutcome } from './apply.ts'
import type { Tenant } from './home.ts'
import { shardOf } from './home.ts'
import { nextDue } from './key-rotation.ts'
import { CATCH_UP_MS } from './last-writes.ts'
import { lookAtDatabase, observeTenant, type TenantSources } from './observe.ts'
import { planTenant } from './plan.ts'
import { tenantStatus } from './status.ts'
import { nextLook } from './subscription.ts'
import type { TenantTools } from './target.ts'

/** What passes of Tenants work with. */
export type TenantContext = TenantSources & TenantTools & { tenant: (name: string) => Tenant | undefined }

/** A first pass that takes longer is announced in the status while it runs. */
const SLOW_MS = 1_000
const DONE: Result = { kind: 'done' }
const WAIT: Result = { kind: 'wait' }
/** For what a person mends where no watch looks: in the database, in a Secret of somebody else, in another Tenant. */
const LOOK_AGAIN: Result = { kind: 'requeue', afterMs: 30_000 }
/** A wall that is down is looked at before anything else. */
const LOOK_SOON: Result = { kind: 'requeue', afterMs: 5_000 }
/** A pass of the Shard wakes those who wait for these. */
const SHARDS_MATTER: ReadonlySet<string> = new Set(['ShardNotFound', 'ShardNotReady', 'ShardUnreachable'])

/** One pass: looks at the Shard's database, does what is missing, says how it stands. */
export async function reconcileTenant(context: TenantContext, name: string, signal: AbortSignal): Promise<Result> {
  const tenant = context.tenant(name)
  if (tenant === undefined) return forget(context, name)
  if (isBehind(context, tenant)) return { kind: 'requeue', afterMs: CATCH_UP_MS }
  const outcome = await work(context, tenant, signal)
  if (outcome.kind === 'waits') return WAIT
  if (outcome.kind === 'gone') return DONE
  if (outcome.kind === 'placed') return noteOf(context, tenant, outcome)
  await report(context, tenant, tenantStatus(tenant, outcome, new Date()), signal)
  const result = resultOf(outcome)
  return untilEnd(tenant, outcome, result.kind === 'done' ? sooner(untilKeysAreDue(context, tenant), outcome) : result)
}

/** True while the watches have not brought back what was last written to the Tenant or to one of its keys: a token is not made anew twice. */
function isBehind({ writes, keysOf }: TenantContext, { metadata, spec }: Tenant): boolean {
  const rotates = spec.apiKeys?.some(({ rotateAt }) => rotateAt !== undefined) ?? false
  return writes.isBehind(metadata) || (rotates && keysOf(metadata.uid).some((key) => writes.isBehind(key)))
}

function sooner(result: Result, outcome: TenantOutcome): Result {
  const afterMs = outcome.kind === 'stands' ? outcome.nextMs : undefined
  if (afterMs === undefined || (result.kind === 'requeue' && result.afterMs < afterMs)) return result
  return { kind: 'requeue', afterMs }
}

function untilKeysAreDue({ keysOf }: TenantContext, { metadata, spec }: Tenant): Result {
  if (spec.apiKeys === undefined || metadata.deletionTimestamp !== undefined) return DONE
  const afterMs = nextDue(spec.apiKeys, keysOf(metadata.uid), Date.now())
  return afterMs === undefined ? DONE : { kind: 'requeue', afterMs }
}

async function work(context: TenantContext, tenant: Tenant, signal: AbortSignal): Promise<TenantOutcome> {
  await using slow = sayWhenSlow(context, tenant, signal)
  const look = await lookAtDatabase(context, tenant)
  const world = observeTenant(context, tenant, look)
  // Who has done its part and waits for what many share is soon told of as a whole.
  const leave = () => {
    slow.hush()
    context.leave()
  }
  return applyTenant({ ...context, leave }, world, planTenant(world, latestOf(context.migrations)), signal)
}

/** Of a tenant of which nothing has been said yet, and that is not done at once, it is said that the work has begun. */
function sayWhenSlow(context: TenantContext, tenant: Tenant, signal: AbortSignal): AsyncDisposable & { hush: () => void } {
  if (tenant.status?.shard !== undefined || shardOf(tenant) === undefined) return { hush: () => {}, [Symbol.asyncDispose]: async () => {} }
  let said: Promise<void> | undefined
  const timer = setTimeout(() => {
    said = report(context, tenant, tenantStatus(tenant, { kind: 'begun' }, new Date()), signal).catch(() => {})
  }, SLOW_MS)
  const hush = () => clearTimeout(timer)
  return {
    hush,
    [Symbol.asyncDispose]: async () => {
      hush()
      await said
    },
  }
}

/** The placement comes back through the watch, and the next pass goes on with it in its Shard's lane. */
function noteOf(
  { writes, recorder }: TenantContext,
  tenant: Tenant,
  { placement, written }: Extract<TenantOutcome, { kind: 'placed' }>,
): Result {
  writes.note(written, false)
  void recorder.record(tenant, 'Normal', placement.reason, placement.message)
  return DONE
}

async function report(context: TenantContext, tenant: Tenant, status: TenantStatus, signal: AbortSignal): Promise<void> {
  await writeStatus(context, tenant, status, signal)
  // An Event is for people; neither the next pass nor the place of this one waits for it.
  void tell(context, tenant, status)
}

/** A Tenant that went without our finalizer leaves no route behind. */
async function forget({ routing }: TenantContext, name: string): Promise<Result> {
  await routing.removeName(name)
  return DONE
}

async function writeStatus({ client, writes }: TenantContext, tenant: Tenant, status: TenantStatus, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid } = tenant.metadata
  const { usage: _usage, ...before } = tenant.status ?? {}
  if (isDeepStrictEqual(status, before)) return
  const written = await client.apply(TENANTS, namespace, { metadata: { name, uid }, status }, { subresource: 'status', signal })
  writes.note(written.metadata, written.metadata.generation === tenant.metadata.generation)
}

/** An Event when the tenant is Ready, or cannot be. */
async function tell({ recorder }: TenantContext, tenant: Tenant, status: TenantStatus): Promise<void> {
  const [after, before] = [status, tenant.status].map((one) => one?.conditions?.find(({ type }) => type === 'Ready'))
  if (after === undefined || after.reason === 'InProgress' || (before?.status === after.status && before.reason === after.reason)) return
  const wanted = after.status === 'True' || after.reason === 'Suspended'
  await recorder.record(tenant, wanted ? 'Normal' : 'Warning', after.reason, after.message)
}

/** A tenant whose subscription ends is looked at again then, whatever else it waits for. */
function untilEnd({ spec }: Tenant, outcome: TenantOutcome, result: Result): Result {
  const served = outcome.kind === 'stands' && outcome.suspension === undefined
  const afterMs = served ? nextLook(spec, Date.now()) : undefined
  if (afterMs === undefined) return result
  return result.kind === 'requeue' && result.afterMs < afterMs ? result : { kind: 'requeue', afterMs }
}

/** What another object must mend first is waited for; what may pass is tried again after a backoff. */
function resultOf(outcome: TenantOutcome): Result {
  if (outcome.kind === 'unplaced') return WAIT
  const failure = outcome.kind === 'stands' || outcome.kind === 'remains' ? outcome.failure : undefined
  if (failure === undefined) return outcome.kind === 'stands' && outcome.verdict?.kind === 'unclear' ? LOOK_AGAIN : DONE
  if (failure.cause !== undefined) throw failure.cause
  if (failure.stage === 'IsolationVerified') return LOOK_SOON
  return SHARDS_MATTER.has(failure.reason) ? WAIT : LOOK_AGAIN
}
