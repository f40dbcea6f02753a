import type { Isolation } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import { latest } from '../postgres/migrations.ts'
import { physicalNames, shardNames } from '../postgres/names.ts'
import { createRowTenant, dropRowTenant, grantRows } from '../postgres/rows.ts'
import {
  createTenant,
  dropTenant,
  grantTenant,
  migrateTenant,
  reopenRecord,
  reopenTenant,
  retainRecord,
  retainTenant,
} from '../postgres/statements.ts'
import type { Home } from '../routing/build.ts'
import { keepDatabase, makeDatabase, removeDatabase } from './database.ts'
import { homeInStatus, shardOf } from './home.ts'
import type { TenantWorld } from './observe.ts'
import type { DatabaseStep, Failure } from './plan.ts'
import type { Target, TenantTools } from './target.ts'

/** A step that failed, and how a condition tells it. */
export type Attempt = { step: DatabaseStep; failure: Failure }

/** Takes the steps until one fails. */
export async function takeSteps(
  tools: TenantTools,
  world: TenantWorld,
  steps: readonly DatabaseStep[],
  signal: AbortSignal,
): Promise<Attempt | undefined> {
  const target = targetOf(tools, world, signal)
  if (target === undefined) return undefined
  const isolation = target.facts.record?.isolation ?? world.tenant.spec.isolation
  for (const step of steps) {
    try {
      await ACTIONS[isolation][step.kind](target, step)
    } catch (cause) {
      return { step, failure: describe(step, target.shard, cause) }
    }
  }
  return undefined
}

function targetOf(tools: TenantTools, { look, tenant, installation }: TenantWorld, signal: AbortSignal): Target | undefined {
  const shard = shardOf(tenant)
  const database = shard === undefined ? undefined : tools.connections.database(shard)
  if (look.kind !== 'seen' || shard === undefined || database === undefined) return undefined
  const { uid, namespace, name } = tenant.metadata
  const names = shardNames(look.database)
  const physical = look.facts.record ?? physicalNames(tenant.spec.isolation, names, uid)
  return { tools, shard, names, identity: { uid, installation, namespace, name, epoch: 1 }, physical, facts: look.facts, database, signal }
}

type Action = (target: Target, step: DatabaseStep) => Promise<void>

const ROW: Record<DatabaseStep['kind'], Action> = {
  create: ({ database, names, identity }) => database.run(createRowTenant(names, identity)),
  reopen: ({ database, identity }) => database.run(reopenRecord(identity.uid)),
  grant: ({ database, names }) => database.run(grantRows(names)),
  // The Shard's pass migrates the shared tables, once for all.
  migrate: async () => {},
  retain: ({ database, identity }) => database.run(retainRecord(identity.uid)),
  drop: ({ database, identity }) => database.run(dropRowTenant(identity.uid)),
}

const SCHEMA: Record<DatabaseStep['kind'], Action> = {
  create: ({ database, names, identity, tools }) => database.run(createTenant(names, identity, tools.migrations.tenant)),
  reopen: ({ database, names, identity, physical }) => database.run(reopenTenant(names, identity.uid, physical.schema)),
  grant: ({ database, names, physical }) => database.run(grantTenant(names, physical.schema)),
  migrate: async ({ database, identity, physical, tools }, step) => {
    const from = step.kind === 'migrate' ? step.from : 0
    for (const one of tools.migrations.tenant) if (one.version > from) await database.run(migrateTenant(identity.uid, physical, one))
  },
  retain: ({ database, names, identity, physical }) => database.run(retainTenant(names, identity.uid, physical.schema)),
  drop: ({ database, identity, physical }) => database.run(dropTenant(identity.uid, physical.schema, physical.role)),
}

const DATABASE: Record<DatabaseStep['kind'], Action> = {
  create: makeDatabase,
  reopen: makeDatabase,
  grant: makeDatabase,
  migrate: makeDatabase,
  retain: keepDatabase,
  drop: removeDatabase,
}

const ACTIONS: Record<Isolation, Record<DatabaseStep['kind'], Action>> = { row: ROW, schema: SCHEMA, database: DATABASE }

function describe(step: DatabaseStep, shard: string, cause: unknown): Failure {
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
    message: `The step ${step.kind} failed on Shard ${shard}: see the operator's log; it is tried again.`,
    cause,
  }
}

/** Where the tenant stands after the steps: as the database says, and while it does not answer, as was last known. */
export function homeOf(
  { migrations }: TenantTools,
  { tenant, look }: TenantWorld,
  refused: Failure | undefined,
  failed: Attempt | undefined,
): Home | undefined {
  const shard = shardOf(tenant)
  if (look.kind !== 'seen' || shard === undefined) return homeInStatus(tenant)
  // Whatever stands under the names of a tenant that was refused is somebody else's: no route may lead there.
  if (refused?.reason === 'NameConflict') return homeInStatus(tenant)
  const { record, version } = look.facts
  const stands = record?.made === true
  if (!stands && (refused !== undefined || failed !== undefined)) return homeInStatus(tenant)
  const { isolation } = tenant.spec
  const { database, schema, role } = record ?? physicalNames(isolation, shardNames(look.database), tenant.metadata.uid)
  const schemaVersion = failed?.step.kind === 'migrate' ? version : Math.max(version, latest(migrations.tenant))
  return { shard, isolation: record?.isolation ?? isolation, database, schema, role, epoch: record?.epoch ?? 1, schemaVersion }
}
