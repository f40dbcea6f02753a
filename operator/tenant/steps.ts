import type { Isolation } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import { readTenant } from '../postgres/catalog.ts'
import { limitLogin } from '../postgres/databases.ts'
import { sqlState } from '../postgres/failure.ts'
import { openLogins, sharedBy } from '../postgres/login.ts'
import { latest } from '../postgres/migrations.ts'
import { physicalNames, shardNames } from '../postgres/names.ts'
import { createRowTenant, dropRowTenant, grantRows } from '../postgres/rows.ts'
import { provideTenant } from '../postgres/spares.ts'
import { dropTenant, grantTenant, migrateTenant, reopenRecord, reopenTenant, retainRecord, retainTenant } from '../postgres/statements.ts'
import type { Home } from '../routing/build.ts'
import { adoptDatabase, keepDatabase, makeDatabase, regainDatabase, removeDatabase } from './database.ts'
import { dataUid, homeInStatus, shardOf, type Tenant } from './home.ts'
import { limitsOf } from './limits.ts'
import type { TenantWorld } from './observe.ts'
import type { DatabaseStep, Failure } from './plan.ts'
import { describeRemoval, proveGone } from './removal.ts'
import { REGAINED, REOPENED, repairer } from './repairs.ts'
import { adoption, epochOf, runAsOwner, type Target, type TenantTools } from './target.ts'

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
  for (const step of steps) {
    try {
      await ACTIONS[target.isolation][step.kind](target, step)
      if (step.kind === 'drop') await proveGone(target)
    } catch (cause) {
      return { step, failure: describe(world.tenant, step, target.shard, cause) }
    }
  }
  return undefined
}

/** The tenant on its Shard, as far as that was looked at. */
export function targetOf(tools: TenantTools, { look, tenant, installation }: TenantWorld, signal: AbortSignal): Target | undefined {
  const shard = shardOf(tenant)
  const database = shard === undefined ? undefined : tools.connections.database(shard)
  if (look.kind !== 'seen' || shard === undefined || database === undefined) return undefined
  const { uid: owner, namespace, name } = tenant.metadata
  const uid = dataUid(tenant)
  const names = shardNames(look.database)
  const physical = look.facts.record ?? physicalNames(tenant.spec.isolation, names, uid)
  return {
    tools,
    shard,
    names,
    identity: { uid, installation, namespace, name, epoch: 1 },
    owner,
    isolation: look.facts.record?.isolation ?? tenant.spec.isolation,
    physical,
    facts: look.facts,
    limits: limitsOf(tenant.spec),
    database,
    tell: repairer(tools.recorder, tenant),
    signal,
  }
}

const SOMEBODY_ELSES: ReadonlySet<string> = new Set(['NameConflict', 'AdoptRefused'])

type Action = (target: Target, step: DatabaseStep) => Promise<void>

const ROW: Record<DatabaseStep['kind'], Action> = {
  create: ({ database, names, identity }) => database.run(createRowTenant(names, identity)),
  adopt: (target) => target.database.run(adoption(target)),
  reopen: telling(({ database, identity }) => database.run(reopenRecord(identity.uid)), REOPENED),
  grant: regainRows,
  // Without a login the runtime alone holds the tenant to its limits, as its route says.
  limit: async () => {},
  // The Shard's pass migrates the shared tables, once for all.
  migrate: async () => {},
  retain: (target) => runAsOwner(target, retainRecord(target.identity.uid)),
  drop: (target) => runAsOwner(target, dropRowTenant(target.identity.uid)),
}

const SCHEMA: Record<DatabaseStep['kind'], Action> = {
  create: ({ database, names, identity, tools }) => database.run(provideTenant(names, identity, tools.migrations.tenant)),
  adopt: (target) => target.database.run(`${adoption(target)}\n${grantTenant(target.names, target.physical.schema)}`),
  reopen: telling(({ database, names, identity, physical }) => database.run(reopenTenant(names, identity.uid, physical.schema)), REOPENED),
  grant: telling(({ database, names, physical }) => database.run(grantTenant(names, physical.schema)), REGAINED),
  limit: ROW.limit,
  migrate: async ({ database, identity, physical, tools }, step) => {
    const from = step.kind === 'migrate' ? step.from : 0
    for (const one of tools.migrations.tenant) if (one.version > from) await database.run(migrateTenant(identity.uid, physical, one))
  },
  retain: (target) => runAsOwner(target, retainTenant(target.names, target.identity.uid, target.physical.schema)),
  drop: (target) => runAsOwner(target, dropTenant(target.identity.uid, target.physical.schema, target.physical.role)),
}

const DATABASE: Record<DatabaseStep['kind'], Action> = {
  create: makeDatabase,
  adopt: adoptDatabase,
  reopen: telling(makeDatabase, REOPENED),
  grant: regainDatabase,
  limit: ({ database, physical, limits, facts }) => {
    const open = openLogins(facts.logins)
    return database.run(open.map(({ name }) => limitLogin(physical, name, sharedBy(open.length, limits))).join('\n'))
  },
  migrate: makeDatabase,
  retain: keepDatabase,
  drop: removeDatabase,
}

const ACTIONS: Record<Isolation, Record<DatabaseStep['kind'], Action>> = { row: ROW, schema: SCHEMA, database: DATABASE }

function telling(action: Action, repair: string): Action {
  return async (target, step) => {
    await action(target, step)
    target.tell(repair)
  }
}

/** All tenants of the shared tables, and the pass of their Shard, find the same: one of them mends it. */
function regainRows({ database, names, identity, shard, tools, tell }: Target): Promise<void> {
  return tools.connections.inTurn(shard, async () => {
    if ((await readTenant(database, identity.uid, 'row', names)).granted) return
    await database.run(grantRows(names))
    tell(REGAINED)
  })
}

function describe(tenant: Tenant, step: DatabaseStep, shard: string, cause: unknown): Failure {
  if (step.kind === 'retain' || step.kind === 'drop') return describeRemoval(tenant, step, shard, cause)
  if (cause instanceof OperatorError)
    return { stage: 'Provisioned', reason: 'ShardUnreachable', message: `Shard ${shard}: ${cause.message}`, cause }
  if (step.kind === 'migrate') return { stage: 'SchemaCurrent', ...describeMigration(step.from, cause), cause }
  return {
    stage: 'Provisioned',
    reason: 'ProvisioningFailed',
    message: `The step ${step.kind} failed on Shard ${shard}: see the operator's log; it is tried again.`,
    cause,
  }
}

const LOCK_NOT_AVAILABLE = '55P03'

function describeMigration(from: number, cause: unknown): Pick<Failure, 'reason' | 'message'> {
  if (sqlState(cause) === LOCK_NOT_AVAILABLE) {
    const message = `A migration above ${from} waits for a transaction that uses the tables: end it, or wait; it is tried again.`
    return { reason: 'SchemaBehind', message }
  }
  const message = `A migration above ${from} failed and was rolled back: see the operator's log; it is tried again.`
  return { reason: 'MigrationFailed', message }
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
  const { record, version } = look.facts
  const adopted = record !== undefined && record.owner !== tenant.metadata.uid
  // Whatever stands under the names of a tenant that was refused is somebody else's: no route may lead there.
  if (refused !== undefined && (adopted || SOMEBODY_ELSES.has(refused.reason))) return homeInStatus(tenant)
  const stands = record?.made === true && failed?.step.kind !== 'adopt'
  if (!stands && (refused !== undefined || failed !== undefined)) return homeInStatus(tenant)
  const { isolation } = tenant.spec
  const { database, schema, role } = record ?? physicalNames(isolation, shardNames(look.database), dataUid(tenant))
  const schemaVersion = isolation === 'row' || failed?.step.kind === 'migrate' ? version : Math.max(version, latest(migrations.tenant))
  const epoch = epochOf(look.facts) + (adopted ? 1 : 0)
  return { shard, isolation: record?.isolation ?? isolation, database, schema, role, epoch, schemaVersion }
}
