import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { TenantryError } from '../../runtime/errors.ts'
import { DependencyDown } from '../../runtime/resilience/breaker.ts'
import { Unreachable } from '../../runtime/shards/failure.ts'
import type { Session } from '../../runtime/shards/session.ts'
import { changes, type PoolChange } from '../../runtime/shards/shard.ts'
import type { Statement, Value } from '../../runtime/shards/statement.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { sessionOn, until } from '../builders/runtime.ts'

const FAULTS = 5_000
/** As many at once as there are slots, each of a tenant of its own: a tenant with a database has one slot. */
const SLOTS = 4

const sql = (text: string, ...values: Value[]): Statement => ({ name: text, text: (schema) => text.replaceAll('@', schema), values })
const PID = sql('SELECT pg_backend_pid() AS pid')

let database: TestDatabase
let superuser: Client
let session: Session

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  superuser = await connectAsSuperuser(inject('postgres'), 'postgres')
})
afterAll(async () => {
  await superuser?.end()
  await database?.drop()
})

type Fault = { kind: string; code: string; strike: (tenant: TenantContext) => Promise<unknown> }

/** Each costs its connection. `code`: what the caller is told. */
const KINDS: Fault[] = [
  {
    kind: 'refused as it begins',
    code: 'shard-unavailable',
    strike: ({ uid, route }) => {
      const limits = { statementMs: -1, lockMs: 1_000, idleInTransactionMs: 1_000 }
      return session.transaction({ uid, route: { ...route, limits } }, (run) => run(PID))
    },
  },
  {
    kind: 'failed statement',
    code: 'internal',
    strike: (tenant) => session.transaction(tenant, (run) => run(sql('SELECT 1 / 0'))),
  },
  {
    kind: 'failed COMMIT',
    code: 'internal',
    strike: (tenant) => session.transaction(tenant, (run) => run(sql('INSERT INTO @once VALUES (1), (1)'))),
  },
  {
    kind: 'killed backend',
    code: 'shard-unavailable',
    strike: (tenant) =>
      session.transaction(tenant, async (run) => {
        const [row] = await run(PID)
        await superuser.query('SELECT pg_terminate_backend($1)', [row?.pid])
        await run(PID)
      }),
  },
  {
    kind: 'left while a statement runs',
    code: 'aborted',
    strike: (tenant) =>
      session.transaction(tenant, async (run) => {
        await run(PID)
        run(sql('SELECT pg_sleep(0.01)')).catch(() => undefined)
        throw new Error('aborted')
      }),
  },
]

/** Tenants with a table whose constraint is looked at no sooner than at COMMIT. */
async function tenantsOf(isolation: 'schema' | 'database'): Promise<TenantContext[]> {
  const tenants: TenantContext[] = []
  for (let slot = 0; slot < SLOTS; slot += 1) {
    const tenant = await database.tenant(`${isolation}-${slot}`, isolation)
    const { schema, role } = tenant.route
    const inside = await connectAsSuperuser(inject('postgres'), tenant.route.database)
    await inside.query(`CREATE TABLE "${schema}".once (value integer UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
    await inside.query(`GRANT INSERT ON "${schema}".once TO "${role}"`)
    await inside.end()
    tenants.push(tenant)
  }
  return tenants
}

/** What the caller is told; undefined where nothing was tried, since the server was too busy with other tests to let anybody in. */
async function outcome(fault: Fault, tenant: TenantContext): Promise<string | undefined> {
  try {
    await fault.strike(tenant)
    return 'no error'
  } catch (error) {
    if (!(error instanceof TenantryError)) return error instanceof Error ? error.message : String(error)
    return error.cause instanceof DependencyDown || error.cause instanceof Unreachable ? undefined : error.code
  }
}

/** So many faults, one kind after the other in each slot; gives how often what was told. */
async function strikeAll(tenants: readonly TenantContext[]): Promise<Record<string, number>> {
  const told: Record<string, number> = {}
  let left = FAULTS
  const strike = async (tenant: TenantContext) => {
    left -= 1
    const fault = KINDS[left % KINDS.length] as Fault
    let code = await outcome(fault, tenant)
    while (code === undefined) {
      await until(() => session.reachable('shard-a'))
      code = await outcome(fault, tenant)
    }
    const line = `${fault.kind}: ${code}`
    told[line] = (told[line] ?? 0) + 1
  }
  await Promise.all(
    tenants.map(async (tenant) => {
      while (left > 0) await strike(tenant)
    }),
  )
  return told
}

/** Holds every slot at once; gives how many connections the server then counts. */
async function holdAll(tenants: readonly TenantContext[]): Promise<number> {
  const { promise: counted, resolve } = Promise.withResolvers<number>()
  let inside = 0
  const holding = tenants.map((tenant) =>
    session.transaction(tenant, async (run) => {
      await run(PID)
      inside += 1
      if (inside === SLOTS) resolve(serverCount(tenants))
      await counted
    }),
  )
  await Promise.all(holding)
  return counted
}

async function serverCount(tenants: readonly TenantContext[]): Promise<number> {
  const names = [...new Set(tenants.map(({ route }) => route.database))]
  const { rows } = await superuser.query(
    "SELECT count(*)::integer AS count FROM pg_stat_activity WHERE datname = ANY ($1) AND application_name LIKE 'tenantry-runtime/%'",
    [names],
  )
  return rows[0]?.count
}

/** How many connections the pool has, and how many callers wait for one, as it announces once a second. */
async function poolOf(): Promise<{ pool: number; waiting: number }> {
  const states = new Map<PoolChange['state'], number>()
  const listen = (change: unknown) => {
    const { state, connections } = change as PoolChange
    states.set(state, connections)
  }
  changes.subscribe(listen)
  await until(() => states.size > 0)
  changes.unsubscribe(listen)
  const waiting = states.get('waiting') ?? 0
  return { pool: [...states.values()].reduce((sum, one) => sum + one, -waiting), waiting }
}

const CASES = ['schema', 'database'] as const

test.for(CASES)('PG-08: no slot is lost after 5,000 faults, isolation %s', { timeout: 240_000 }, async (isolation) => {
  const tenants = await tenantsOf(isolation)
  session = sessionOn(database, { pipelined: 1, interactive: SLOTS, databases: 2 * SLOTS })
  const since = performance.now()
  const told = await strikeAll(tenants)
  const seconds = (performance.now() - since) / 1_000
  expect(told).toEqual(Object.fromEntries(KINDS.map(({ kind, code }) => [`${kind}: ${code}`, FAULTS / KINDS.length])))
  // The server hears of the last end a moment later.
  await until(async () => (await serverCount(tenants)) === 0)
  const counted = await holdAll(tenants)
  const { pool, waiting } = await poolOf()
  printFigure(
    `PG-08: ${isolation}: ${FAULTS} faults of ${KINDS.length} kinds in ${seconds.toFixed(1)} s; the pool has ${pool} of ${SLOTS} connections, ${waiting} wait, the server counts ${counted}`,
  )
  expect({ pool, waiting, counted }).toEqual({ pool: SLOTS, waiting: 0, counted: SLOTS })
  await session.close()
})
