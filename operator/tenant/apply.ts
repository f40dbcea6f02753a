import { TENANT_FINALIZER } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import { type ObjectMeta, SECRETS, TENANTS } from '../kubernetes/object.ts'
import { buildRoute, type Home } from '../routing/build.ts'
import { isOwn } from './conflict.ts'
import type { Tenant } from './home.ts'
import { dataUid, homeInStatus, placementNote, shardOf } from './home.ts'
import { type ApiKey, issueKey, replaceToken, routeKeys } from './keys.ts'
import type { TenantWorld } from './observe.ts'
import type { Placement } from './placement.ts'
import type { DatabaseStep, Failure, KeyStep, TenantPlan } from './plan.ts'
import { homeOf, takeSteps } from './steps.ts'
import type { TenantTools } from './target.ts'

/** How a pass ended. `home` is where the tenant stands, as far as it is known. */
export type TenantOutcome =
  | { kind: 'waits' }
  | { kind: 'gone' }
  | { kind: 'placed'; placement: Placed; written: ObjectMeta }
  | { kind: 'unplaced'; placement: Exclude<Placement, Placed> }
  | { kind: 'stands'; home: Home | undefined; failure: Failure | undefined }
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
  tools.occupancy.place(metadata.uid, placement.shard)
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
  if (plan.steps.some(({ kind }) => kind === 'adopt') && failed?.step.kind !== 'adopt') tellAdoption(tools, world)
  const home = homeOf(tools, world, plan.failure, failed)
  const failure = plan.failure ?? failed?.failure
  if (home !== undefined) await publish(tools, world, home, keys.keys)
  return { kind: 'stands', home, failure: failure ?? keys.failure ?? hostFailure(world) }
}

async function publish({ routing }: TenantTools, { tenant, takenHosts }: TenantWorld, home: Home, keys: readonly ApiKey[]): Promise<void> {
  const hosts = (tenant.spec.hosts ?? []).filter((host) => !takenHosts.some((taken) => taken.host === host))
  await routing.putRoute(buildRoute({ id: tenant.metadata.name, uid: dataUid(tenant), home, hosts, keys: routeKeys(keys) }))
}

function tellAdoption({ recorder }: TenantTools, { tenant, look }: TenantWorld): void {
  const former = look.kind === 'seen' ? look.facts.record?.name : undefined
  void recorder.record(tenant, 'Normal', 'DataAdopted', `Took over the data that Tenant ${former} left under UID ${dataUid(tenant)}.`)
}

/** The door is closed first, then the data is kept or removed, the finalizer goes last. */
async function remove(tools: TenantTools, world: TenantWorld, plan: Removed, signal: AbortSignal): Promise<TenantOutcome> {
  const { tenant } = world
  if (!tenant.metadata.finalizers?.includes(TENANT_FINALIZER)) return { kind: 'gone' }
  if (hasRoute(world)) await tools.routing.removeRoute(dataUid(tenant))
  await applyKeys(tools, world, plan.keys, signal)
  const failure = plan.failure ?? (await takeSteps(tools, world, plan.steps, signal))?.failure
  if (failure !== undefined) return { kind: 'remains', failure }
  await tellEnd(tools, world, plan.steps)
  await dropFinalizer(tools.client, tenant, signal)
  return { kind: 'gone' }
}

/** The route under the UID of adopted data is that of whoever has the data: a Tenant that was refused has none to remove. */
function hasRoute(world: TenantWorld): boolean {
  const { tenant, look } = world
  if (tenant.spec.adopt === undefined || homeInStatus(tenant) !== undefined) return true
  return look.kind === 'seen' && look.facts.record !== undefined && isOwn(world, look.facts.record)
}

async function tellEnd({ recorder }: TenantTools, { tenant, look }: TenantWorld, steps: readonly DatabaseStep[]): Promise<void> {
  if (look.kind !== 'seen' || look.facts.record === undefined) return
  const { isolation, database, schema } = look.facts.record
  const what = isolation === 'row' ? `the rows in schema ${schema} of` : isolation === 'schema' ? `schema ${schema} of` : 'the whole of'
  const place = `${what} database ${database} on Shard ${shardOf(tenant)}`
  if (steps.some(({ kind }) => kind === 'drop'))
    await recorder.record(tenant, 'Normal', 'DataRemoved', `Removed ${place}, what let the runtime in, the API keys and the route.`)
  else
    await recorder.record(
      tenant,
      'Normal',
      'DataRetained',
      `Kept: ${place}, under UID ${dataUid(tenant)}; API keys and route are removed. Set spec.deletionPolicy to Delete before deleting to remove it.`,
    )
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

async function dropFinalizer(client: Client, { metadata }: Tenant, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid, resourceVersion, finalizers = [] } = metadata
  const change = { uid, resourceVersion, finalizers: finalizers.filter((finalizer) => finalizer !== TENANT_FINALIZER) }
  await client.patch(TENANTS, namespace, name, { metadata: change }, { signal })
}

async function applyKeys(
  { client, writes }: TenantTools,
  { tenant, keys }: TenantWorld,
  steps: readonly KeyStep[],
  signal: AbortSignal,
): Promise<{ keys: ApiKey[]; failure: Failure | undefined }> {
  const current = new Map(keys.map((key) => [key.name, key]))
  let failure: Failure | undefined
  for (const step of steps) {
    if (step.kind === 'revoke') {
      await client.delete(SECRETS, tenant.metadata.namespace, step.key.secret, { uid: step.key.uid, signal })
      current.delete(step.key.name)
    } else if (step.kind === 'replace') {
      current.set(step.key.name, await replaceToken(client, tenant.metadata.namespace, step.key, signal))
    } else {
      const issued = await issueKey({ client, writes }, tenant.metadata, step.name, signal).catch(keyFailure)
      if ('stage' in issued) failure = issued
      else current.set(issued.name, issued)
    }
  }
  return { keys: [...current.values()], failure }
}

function keyFailure(error: unknown): Failure {
  if (!(error instanceof OperatorError)) throw error
  return { stage: 'Routed', reason: 'NameConflict', message: error.message, cause: error }
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
