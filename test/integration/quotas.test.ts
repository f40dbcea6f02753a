import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { CommandBus } from '../../runtime/commands/bus.ts'
import type { TenantryError } from '../../runtime/errors.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { busOn, command, sessionOn } from '../builders/runtime.ts'

const TIMES = { statementMs: 4_000, lockMs: 4_000, idleInTransactionMs: 10_000 }
let database: TestDatabase
let sessions: Session[]
let replicas: CommandBus[]

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  sessions = [sessionOn(database), sessionOn(database)]
  replicas = sessions.map((session) => busOn(session))
})

afterAll(async () => {
  await Promise.all(sessions.map((session) => session.close()))
  await database.drop()
})

function limited({ route, ...tenant }: TenantContext, tasks: number): TenantContext {
  return { ...tenant, route: { ...route, limits: { ...TIMES, tasks } } }
}

/** Carries a command out on one of the replicas: the task's id, or the error. */
async function attempt(tenant: TenantContext, name: string, raw: object, replica = 0): Promise<string | TenantryError> {
  const bus = replicas[replica % replicas.length]
  if (bus === undefined) throw new Error('no replica')
  return command(bus, tenant, name, raw).then(
    ({ id }) => id,
    (error: TenantryError) => error,
  )
}

const create = (tenant: TenantContext, replica = 0) => attempt(tenant, 'CreateTask', { title: 'one more' }, replica)
const codes = (outcomes: readonly (string | TenantryError)[]) => outcomes.flatMap((one) => (typeof one === 'string' ? [] : one.code))

async function numbers(tenant: TenantContext): Promise<unknown> {
  const [row] = await database.asTenant(
    tenant,
    "SELECT (SELECT count(*)::int FROM tasks WHERE tenant_id = $1) AS rows, (SELECT (counts ->> 'tasks')::int FROM tenantry.head) AS counted, (SELECT position::int FROM tenantry.head) AS events",
    [tenant.uid],
  )
  return row
}

describe.for(ISOLATIONS)('a quota of tasks, isolation %s', (isolation) => {
  test('holds exactly: of 50 creations at once on 2 replicas as many are carried out as there is room for', async () => {
    const tenant = limited(await database.tenant('acme', isolation), 20)
    const outcomes = await Promise.all(Array.from({ length: 50 }, (_, index) => create(tenant, index)))
    expect(codes(outcomes)).toEqual(Array(30).fill('quota-exceeded'))
    expect(await numbers(tenant)).toEqual({ rows: 20, counted: 20, events: 20 })
    const [refused] = outcomes.filter((one) => typeof one !== 'string')
    expect(refused).toMatchObject({ message: expect.stringMatching(/^This tenant may have 20 tasks, and has 20\./), retryAfter: 60 })
    printFigure(`quota, isolation ${isolation}: 20 of 50 at once on 2 replicas, 30 refused`)
  })

  test('a deletion makes room at once, creations and deletions that race never pass the limit', async () => {
    const tenant = limited(await database.tenant('acme', isolation), 5)
    const made = (await Promise.all(Array.from({ length: 5 }, () => create(tenant)))).map(String)
    expect(codes([await create(tenant)])).toEqual(['quota-exceeded'])
    expect(codes([await attempt(tenant, 'DeleteTask', { id: made[0] }), await create(tenant, 1)])).toEqual([])
    const [, ...rest] = made
    const raced = await Promise.all([
      ...rest.map((id, index) => attempt(tenant, 'DeleteTask', { id }, index)),
      ...Array.from({ length: 20 }, (_, index) => create(tenant, index)),
    ])
    expect(new Set(codes(raced))).toEqual(new Set(['quota-exceeded']))
    const { rows, counted } = Object(await numbers(tenant))
    expect(counted).toBe(rows)
    expect(rows).toBeLessThanOrEqual(5)
    await Promise.all(Array.from({ length: 5 - rows }, () => create(tenant)))
    expect(codes([await create(tenant, 1)])).toEqual(['quota-exceeded'])
    expect(await numbers(tenant)).toMatchObject({ rows: 5, counted: 5 })
  })

  test('a limit below the present number refuses creations only; without one there is none', async () => {
    const free = await database.tenant('acme', isolation)
    const [first, second] = [String(await create(free)), String(await create(free))]
    const tenant = limited(free, 1)
    const [error] = [await create(tenant)]
    expect(error).toMatchObject({ code: 'quota-exceeded', message: expect.stringContaining('This tenant may have 1 tasks, and has 2.') })
    expect(codes([await attempt(tenant, 'UpdateTask', { id: first, title: 'changed' })])).toEqual([])
    expect(codes([await attempt(tenant, 'CompleteTask', { id: first })])).toEqual([])
    expect(codes([await attempt(tenant, 'DeleteTask', { id: second })])).toEqual([])
    expect(codes([await create(tenant)])).toEqual(['quota-exceeded'])
    expect(codes([await attempt(tenant, 'DeleteTask', { id: first }), await create(limited(free, 0)), await create(tenant)])).toEqual([
      'quota-exceeded',
    ])
    expect(await numbers(tenant)).toMatchObject({ rows: 1, counted: 1 })
  })

  test('users have a limit of their own, and one who is refused for the address takes no room', async () => {
    const acme = await database.tenant('acme', isolation)
    const tenant = { ...acme, route: { ...acme.route, limits: { ...TIMES, tasks: 0, users: 3 } } }
    const register = (email: string) => attempt(tenant, 'RegisterUser', { email: `${email}@example.com`, displayName: 'Ann' })
    const outcomes = await Promise.all(['a', 'a', 'b', 'a', 'c', 'd'].map(register))
    expect(codes(outcomes)).toEqual(['conflict', 'conflict', 'quota-exceeded'])
    expect(outcomes.at(-1)).toMatchObject({ message: expect.stringContaining('may have 3 users, and has 3.') })
    expect(codes([await create(tenant)])).toEqual(['quota-exceeded'])
  })

  test('what was made before anybody kept the number is counted once', async () => {
    const tenant = limited(await database.tenant('acme', isolation), 3)
    await Promise.all([create(tenant), create(tenant)])
    await database.asTenant(tenant, "UPDATE tenantry.head SET counts = '{}'")
    expect(codes([await create(tenant, 1), await create(tenant)])).toEqual(['quota-exceeded'])
    expect(await numbers(tenant)).toMatchObject({ rows: 3, counted: 3 })
  })
})
