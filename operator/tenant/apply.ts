import { TENANT_FINALIZER } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import { isStatus } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { type ObjectMeta, SECRETS, TENANTS } from '../kubernetes/object.ts'
import type { Home } from '../routing/build.ts'
import { isOwn } from './conflict.ts'
import { guard } from './guard.ts'
import type { Tenant } from './home.ts'
import { dataUid, homeInStatus, placementNote } from './home.ts'
import { KEY_OVERLAP_MS } from './key-rotation.ts'
import { type ApiKey, forgetPrevious, issueKey, replaceToken, revokeAll, rotateToken } from './keys.ts'
import { rotateLogin } from './login-rotation.ts'
import type { TenantWorld } from './observe.ts'
import type { Placement } from './placement.ts'
import type { Failure, KeyStep, TenantPlan } from './plan.ts'
import { tellEnd, tellRelease } from './removal.ts'
import { tellLostKeys, tellSteps } from './repairs.ts'
import { routeOf } from './route.ts'
import { isTooLong, LONGEST_SETTINGS } from './settings.ts'
import { homeOf, takeSteps, targetOf } from './steps.ts'
import { suspensionOf } from './subscription.ts'
import type { TenantTools } from './target.ts'
import type { Verdict } from './verify.ts'

/** How a pass ended. `home` is where the tenant stands, as far as it is known; `suspension` why it is suspended although nothing is amiss. */
export type TenantOutcome =
  | { kind: 'waits' }
  | { kind: 'gone' }
  | { kind: 'placed'; placement: Placed; written: ObjectMeta }
  | { kind: 'unplaced'; placement: Exclude<Placement, Placed> }
  | {
      kind: 'stands'
      home: Home | undefined
      failure: Failure | undefined
      suspension: string | undefined
      verdict?: Verdict | undefined
      /** Milliseconds until there is more to do about the tenant's login. */
      nextMs?: number | undefined
    }
  | { kind: 'remains'; failure: Failure }

type Placed = Extract<Placement, { kind: 'placed' }>
type Served = Extract<TenantPlan, { kind: 'serve' }>
type Removed = Extract<TenantPlan, { kind: 'remove' }>

/** Carries the plan out. A failure that a condition can tell is part of the outcome; what the API server refuses is thrown. */
export async function applyTenant(tools: TenantTools, world: TenantWorld, plan: TenantPlan, signal: AbortSignal): Promise<TenantOutcome> {
  switch (plan.kind) {
    case 'wait':
      return { kind: 'waits' }
    case 'place':
      return place(tools, world.tenant, plan.placement, signal)
    case 'serve':
      return serve(tools, world, plan, signal)
    case 'remove':
      return remove(tools, world, plan, signal)
  }
}

/**
 * Records the Shard together with the finalizer: a pass after a crash goes on there. Counted before the call, so that a pass beside this
 * one sees the place as taken.
 */
async function place(tools: TenantTools, { metadata }: Tenant, placement: Placement, signal: AbortSignal): Promise<TenantOutcome> {
  if (placement.kind === 'unplaced') return { kind: 'unplaced', placement }
  tools.occupancy.place(metadata, placement.shard)
  try {
    const written = await claim(tools.client, metadata, placementNote(metadata.uid, placement), signal)
    return { kind: 'placed', placement, written }
  } catch (error) {
    tools.occupancy.release(metadata.uid)
    throw error
  }
}

async function serve(tools: TenantTools, world: TenantWorld, plan: Served, signal: AbortSignal): Promise<TenantOutcome> {
  if (plan.claim) await claim(tools.client, world.tenant.metadata, {}, signal)
  // Neither needs the other: the keys' Secrets are written while the database works. Both have ended before the pass does.
  const issuing = applyKeys(tools, world, plan.keys, signal)
  issuing.catch(() => {})
  const failed = await takeSteps(tools, world, plan.steps, signal)
  const keys = await issuing
  tellSteps(tools.recorder, world, plan.steps, failed?.step)
  tellLostKeys(tools, world.tenant, plan.keys, keys.keys)
  const home = homeOf(tools, world, plan.failure, failed)
  const failure = plan.failure ?? failed?.failure
  const target = failure === undefined ? targetOf(tools, world, signal) : undefined
  const verdict = target && (await guard(target, world.tenant))
  const closed = verdict?.kind === 'broken' && tools.onBreach === 'suspend'
  // What is left is to wait for a document that the routes of many share, and for a tenant with a login of its own to look after that.
  if (target?.isolation !== 'database') tools.leave()
  if (home !== undefined) await publish(tools, world, home, keys.keys, closed)
  const nextMs = failure === undefined ? await keepLogin(tools, world, signal) : undefined
  const suspension = suspensionOf(world.tenant.spec, world.now)
  return {
    kind: 'stands',
    home,
    failure: failure ?? wallFailure(verdict) ?? keys.failure ?? hostFailure(world),
    suspension,
    verdict,
    nextMs,
  }
}

async function keepLogin(tools: TenantTools, world: TenantWorld, signal: AbortSignal): Promise<number | undefined> {
  const target = targetOf(tools, world, signal)
  if (target === undefined || target.isolation !== 'database') return undefined
  return rotateLogin(target, world.tenant, world.now, signal)
}

const TOO_LONG = `spec.settings is longer than ${LONGEST_SETTINGS} characters as JSON, and is left out of the route: shorten it.`

async function publish(
  { routing, recorder }: TenantTools,
  { tenant, takenHosts, now }: TenantWorld,
  home: Home,
  keys: readonly ApiKey[],
  closed: boolean,
): Promise<void> {
  const hosts = (tenant.spec.hosts ?? []).filter((host) => !takenHosts.some((taken) => taken.host === host))
  const route = routeOf(tenant, home, hosts, keys, now)
  if (isTooLong(tenant.spec.settings)) void recorder.record(tenant, 'Warning', 'SettingsTooLong', TOO_LONG)
  await routing.putRoute(closed ? { ...route, state: 'suspended' } : route)
}

/** The door is closed first, then the data is kept or removed, the finalizer goes last. */
async function remove(tools: TenantTools, world: TenantWorld, plan: Removed, signal: AbortSignal): Promise<TenantOutcome> {
  const { tenant } = world
  if (!tenant.metadata.finalizers?.includes(TENANT_FINALIZER)) return { kind: 'gone' }
  if (hasRoute(world)) await tools.routing.removeRoute(dataUid(tenant))
  await applyKeys(tools, world, plan.keys, signal)
  const failure = plan.failure ?? (await takeSteps(tools, world, plan.steps, signal))?.failure
  if (failure !== undefined && !plan.released) return { kind: 'remains', failure }
  await (failure === undefined ? tellEnd(tools.recorder, world, plan.steps) : tellRelease(tools.recorder, tenant))
  await revokeAll(tools.client, tenant.metadata, signal)
  await dropFinalizer(tools.client, tenant, signal)
  return { kind: 'gone' }
}

/** The route under the UID of adopted data is that of whoever has the data: a Tenant that was refused has none to remove. */
function hasRoute(world: TenantWorld): boolean {
  const { tenant, look } = world
  if (tenant.spec.adopt === undefined || homeInStatus(tenant) !== undefined) return true
  return look.kind === 'seen' && look.facts.record !== undefined && isOwn(world, look.facts.record)
}

/**
 * The finalizer stands before anything is made that it guards. Refused when the Tenant is no longer the one that was looked at: decided
 * on a stale view, a placement would give a second home to one that has its own.
 */
async function claim(client: Client, metadata: ObjectMeta, annotations: Record<string, string>, signal: AbortSignal): Promise<ObjectMeta> {
  const { name, namespace, uid, resourceVersion, finalizers = [] } = metadata
  const claimed = [...finalizers.filter((finalizer) => finalizer !== TENANT_FINALIZER), TENANT_FINALIZER]
  const change = { uid, resourceVersion, finalizers: claimed, annotations }
  return (await client.patch(TENANTS, namespace, name, { metadata: change }, { signal })).metadata
}

/** A view from before the last finalizer was dropped may ask once more: that the Tenant is gone is what was wanted. */
async function dropFinalizer(client: Client, { metadata }: Tenant, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid, resourceVersion, finalizers = [] } = metadata
  const change = { uid, resourceVersion, finalizers: finalizers.filter((finalizer) => finalizer !== TENANT_FINALIZER) }
  try {
    await client.patch(TENANTS, namespace, name, { metadata: change }, { signal })
  } catch (error) {
    if (!isStatus(error, 404)) throw error
  }
}

async function applyKeys(
  tools: TenantTools,
  world: TenantWorld,
  steps: readonly KeyStep[],
  signal: AbortSignal,
): Promise<{ keys: ApiKey[]; failure: Failure | undefined }> {
  const { client } = tools
  const { tenant } = world
  const current = new Map(world.keys.map((key) => [key.name, key]))
  let failure: Failure | undefined
  for (const step of steps) {
    if (step.kind === 'revoke') {
      await client.delete(SECRETS, tenant.metadata.namespace, step.key.secret, { uid: step.key.uid, signal })
      current.delete(step.key.name)
    } else if (step.kind !== 'issue') {
      current.set(step.key.name, await renewKey(tools, world, step, signal))
    } else {
      const issued = await issueKey(tools, tenant.metadata, step.name, signal).catch(keyFailure)
      if ('stage' in issued) failure = issued
      else current.set(issued.name, issued)
    }
  }
  return { keys: [...current.values()], failure }
}

async function renewKey(
  tools: TenantTools,
  { tenant, now }: TenantWorld,
  { kind, key }: Extract<KeyStep, { kind: 'replace' | 'rotate' | 'forget' }>,
  signal: AbortSignal,
): Promise<ApiKey> {
  const { namespace } = tenant.metadata
  if (kind === 'replace') return replaceToken(tools, namespace, key, signal)
  if (kind === 'forget') return forgetPrevious(tools.client, namespace, key, signal)
  const until = now + KEY_OVERLAP_MS
  const rotated = await rotateToken(tools, namespace, key, until, signal)
  const message = `The Secret ${key.secret} holds a new token; the one before is valid until ${new Date(until).toISOString()}.`
  void tools.recorder.record(tenant, 'Normal', 'ApiKeyRotated', message)
  return rotated
}

function keyFailure(error: unknown): Failure {
  if (!(error instanceof OperatorError)) throw error
  return { stage: 'Routed', reason: 'NameConflict', message: error.message, cause: error }
}

function wallFailure(verdict: Verdict | undefined): Failure | undefined {
  if (verdict?.kind !== 'broken') return undefined
  const message = `The wall of this tenant is down: ${verdict.what.join('; ')}. Take that away; it is tried again.`
  return { stage: 'IsolationVerified', reason: verdict.reason, message }
}

function hostFailure({ takenHosts }: TenantWorld): Failure | undefined {
  const [first] = takenHosts
  if (first === undefined) return undefined
  return {
    stage: 'Routed',
    reason: 'HostTaken',
    message: `The host ${first.host} belongs to the older Tenant ${first.by}: remove it from one of the two.`,
  }
}
