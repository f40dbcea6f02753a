import { TENANT_FINALIZER } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import { type ObjectMeta, SECRETS, TENANTS } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { Database } from '../postgres/connect.ts'
import type { Connections } from '../postgres/connections.ts'
import { latest, type Migration } from '../postgres/migrations.ts'
import { type ShardNames, shardNames, tenantName } from '../postgres/names.ts'
import { createTenant, dropTenant, grantTenant, migrateTenant, reopenTenant, retainTenant } from '../postgres/statements.ts'
import { buildRoute, type Home } from '../routing/build.ts'
import type { RoutingPublisher } from '../routing/publish.ts'
import type { Tenant } from './home.ts'
import { homeInStatus, placementNote, shardOf } from './home.ts'
import { type ApiKey, issueKey, replaceToken, routeKeys } from './keys.ts'
import type { LastWrites } from './last-writes.ts'
import type { TenantWorld } from './observe.ts'
import type { Occupancy } from './occupancy.ts'
import type { Placement } from './placement.ts'
import type { DatabaseStep, Failure, KeyStep, TenantPlan } from './plan.ts'
import { describeRemoval, proveGone, tellEnd, tellRelease } from './removal.ts'
import { routeState, suspensionOf } from './subscription.ts'

/** What the steps work with. */
export type TenantTools = {
  client: Client
  connections: Connections
  routing: RoutingPublisher
  occupancy: Occupancy
  writes: LastWrites
  recorder: Recorder
  migrations: readonly Migration[]
}

/** How a pass ended. `home` is where the tenant stands, as far as it is known; `suspension` why it is suspended although nothing is amiss. */
export type TenantOutcome =
  | { kind: 'waits' }
  | { kind: 'gone' }
  | { kind: 'placed'; placement: Placed; written: ObjectMeta }
  | { kind: 'unplaced'; placement: Exclude<Placement, Placed> }
  | { kind: 'stands'; home: Home | undefined; failure: Failure | undefined; suspension: string | undefined }
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
  const failed = await takeSteps(tools, world, plan.steps)
  const keys = await issuing
  const home = homeOf(tools, world, failed)
  const failure = plan.failure ?? failed?.failure
  if (home !== undefined) await publish(tools, world, home, keys.keys)
  const suspension = suspensionOf(world.tenant.spec, world.now)
  return { kind: 'stands', home, failure: failure ?? keys.failure ?? hostFailure(world), suspension }
}

async function publish(
  { routing }: TenantTools,
  { tenant, now, takenHosts }: TenantWorld,
  home: Home,
  keys: readonly ApiKey[],
): Promise<void> {
  const hosts = (tenant.spec.hosts ?? []).filter((host) => !takenHosts.some((taken) => taken.host === host))
  const { name: id, uid } = tenant.metadata
  await routing.putRoute(buildRoute({ id, uid, home, state: routeState(tenant.spec, now), hosts, keys: routeKeys(keys) }))
}

/** The door is closed first, then the data is kept or removed, the finalizer goes last. */
async function remove(tools: TenantTools, world: TenantWorld, plan: Removed, signal: AbortSignal): Promise<TenantOutcome> {
  const { tenant } = world
  if (!tenant.metadata.finalizers?.includes(TENANT_FINALIZER)) return { kind: 'gone' }
  await tools.routing.removeRoute(tenant.metadata.uid)
  await applyKeys(tools, world, plan.keys, signal)
  const failure = plan.failure ?? (await takeSteps(tools, world, plan.steps))?.failure
  if (failure !== undefined && !plan.released) return { kind: 'remains', failure }
  await (failure === undefined ? tellEnd(tools.recorder, world, plan.steps) : tellRelease(tools.recorder, tenant))
  await dropFinalizer(tools.client, tenant, signal)
  return { kind: 'gone' }
}

type Attempt = { step: DatabaseStep; failure: Failure }

/** The steps until one fails. */
async function takeSteps(tools: TenantTools, world: TenantWorld, steps: readonly DatabaseStep[]): Promise<Attempt | undefined> {
  const { look, tenant } = world
  const shard = shardOf(tenant)
  const connection = shard === undefined ? undefined : tools.connections.database(shard)
  if (look.kind !== 'seen' || connection === undefined) return undefined
  for (const step of steps) {
    try {
      await takeStep(connection, shardNames(look.database), world, step, tools.migrations)
    } catch (cause) {
      return { step, failure: describe(tenant, step, shard, cause) }
    }
  }
  return undefined
}

async function takeStep(
  database: Pick<Database, 'run' | 'query'>,
  names: ShardNames,
  { tenant, look }: TenantWorld,
  step: DatabaseStep,
  migrations: readonly Migration[],
): Promise<void> {
  const { uid, namespace, name } = tenant.metadata
  const record = look.kind === 'seen' ? look.facts.record : undefined
  const physical = record?.schema ?? tenantName(uid)
  switch (step.kind) {
    case 'create':
      return database.run(createTenant(names, { uid, namespace, name, physical, epoch: 1 }, migrations))
    case 'reopen':
      return database.run(reopenTenant(names, uid, physical))
    case 'grant':
      return database.run(grantTenant(names, physical))
    case 'migrate':
      for (const migration of migrations) if (migration.version > step.from) await database.run(migrateTenant(uid, physical, migration))
      return
    case 'retain':
      return database.run(retainTenant(names, uid, physical))
    case 'drop':
      await database.run(dropTenant(uid, physical, record?.role ?? physical))
      return proveGone(database, uid, physical, names)
  }
}

function describe(tenant: Tenant, step: DatabaseStep, shard: string | undefined, cause: unknown): Failure {
  if (step.kind === 'retain' || step.kind === 'drop') return describeRemoval(tenant, step, shard, cause)
  if (cause instanceof OperatorError)
    return { stage: 'Provisioned', reason: 'ShardUnreachable', message: `Shard ${shard}: ${cause.message}`, cause }
  if (step.kind === 'migrate') {
    return {
      stage: 'SchemaCurrent',
      reason: 'MigrationFailed',
      message: `A migration above ${step.from} failed and was rolled back: see the operator's log; it is tried again.`,
      cause,
    }
  }
  return {
    stage: 'Provisioned',
    reason: 'ProvisioningFailed',
    message: `The step ${step.kind} failed on Shard ${shard} and was rolled back: see the operator's log; it is tried again.`,
    cause,
  }
}

/** Where the tenant stands after the steps: as the database says, and while it does not answer, as was last known. */
function homeOf({ migrations }: TenantTools, { tenant, look }: TenantWorld, failed: Attempt | undefined): Home | undefined {
  const shard = shardOf(tenant)
  if (look.kind !== 'seen' || shard === undefined) return homeInStatus(tenant)
  const { record, version } = look.facts
  if (failed?.step.kind === 'create') return undefined
  if (record === undefined) {
    const physical = tenantName(tenant.metadata.uid)
    if (tenant.status?.schema !== undefined || look.facts.schemaExists || look.facts.roleExists) return homeInStatus(tenant)
    return {
      shard,
      isolation: 'schema',
      database: look.database,
      schema: physical,
      role: physical,
      epoch: 1,
      schemaVersion: latest(migrations),
    }
  }
  const schemaVersion = failed?.step.kind === 'migrate' ? version : Math.max(version, latest(migrations))
  return {
    shard,
    isolation: 'schema',
    database: look.database,
    schema: record.schema,
    role: record.role,
    epoch: record.epoch,
    schemaVersion,
  }
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
