import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { dropRowTenant } from '../../operator/postgres/rows.ts'
import type { CommandBus } from '../../runtime/commands/bus.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { busOn, command, sessionOn } from '../builders/runtime.ts'

let database: TestDatabase
let session: Session
let bus: CommandBus

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  session = sessionOn(database)
  bus = busOn(session)
})

afterAll(async () => {
  await session.close()
  await database.drop()
})

const register = async (tenant: TenantContext, email = 'ann@example.com') =>
  (await command(bus, tenant, 'RegisterUser', { email, displayName: 'Ann' })).id
const refusalOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    ({ code, message, faults }) => ({ code, message, faults }),
  )
const NOBODY = '01890a5d-ac96-774b-bcce-b302099a8057'
const REFUSED = {
  code: 'invalid-request',
  message: expect.any(String),
  faults: [{ field: 'assignee', message: "must be the id of one of the tenant's users" }],
}

describe.for(ISOLATIONS)('assignees, isolation %s', (isolation) => {
  test('TI-07: a task is assigned to a user of its tenant; another tenant’s looks like one that never was', async () => {
    const [acme, globex] = [await database.tenant('acme', isolation), await database.tenant('globex', isolation)]
    const [mine, theirs] = [await register(acme), await register(globex)]
    const { id } = await command(bus, acme, 'CreateTask', { title: 'mine', assignee: mine.toUpperCase() })
    expect(await database.asTenant(acme, 'SELECT assignee_id AS assignee FROM tasks')).toEqual([{ assignee: mine }])
    const [foreign, missing] = await Promise.all(
      [theirs, NOBODY].map((assignee) => refusalOf(command(bus, acme, 'CreateTask', { title: 'x', assignee }))),
    )
    expect(foreign).toEqual(REFUSED)
    expect(foreign).toEqual(missing)
    expect(await refusalOf(command(bus, acme, 'UpdateTask', { id, assignee: theirs }))).toEqual(REFUSED)
    expect(await refusalOf(command(bus, acme, 'UpdateTask', { id, title: 'still mine' }))).toBe('done')
    expect(await database.asTenant(acme, 'SELECT position::int FROM tenantry.head')).toEqual([{ position: 3 }])
  })

  test('one that is refused does not take the others of its commit along, nor does it try them again', async () => {
    const tenant = await database.tenant('acme', isolation)
    const ann = await register(tenant)
    const assignees = Array.from({ length: 40 }, (_, index) => [ann, NOBODY, null][index % 3])
    const outcomes = await Promise.all(assignees.map((assignee) => refusalOf(command(bus, tenant, 'CreateTask', { title: 'x', assignee }))))
    expect(outcomes).toEqual(assignees.map((assignee) => (assignee === NOBODY ? REFUSED : 'done')))
    const [row] = await database.asTenant(
      tenant,
      'SELECT count(*)::int AS tasks, count(DISTINCT t.xmin::text)::int AS commits, (SELECT position::int FROM tenantry.head) AS head FROM tasks t',
    )
    expect(row).toMatchObject({ tasks: 27, head: 28 })
    expect(row?.commits).toBeLessThan(10)
  })

  test('the database itself keeps a user who has tasks, whoever asks it to delete', async () => {
    const tenant = await database.tenant('acme', isolation)
    await command(bus, tenant, 'CreateTask', { title: 'x', assignee: await register(tenant) })
    await expect(database.asTenant(tenant, 'DELETE FROM users')).rejects.toThrow(/tasks_assignee/)
  })
})

test('a tenant of the shared tables is dropped with its users and their tasks, whichever table comes first', async () => {
  const [gone, stays] = [await database.tenant('gone', 'row'), await database.tenant('stays', 'row')]
  for (const tenant of [gone, stays]) await command(bus, tenant, 'CreateTask', { title: 'x', assignee: await register(tenant) })
  await database.admin.query(dropRowTenant(gone.uid))
  const counts = 'SELECT (SELECT count(*)::int FROM users) AS users, (SELECT count(*)::int FROM tasks) AS tasks'
  expect(await database.asTenant(gone, counts)).toEqual([{ users: 0, tasks: 0 }])
  expect(await database.asTenant(stays, counts)).toEqual([{ users: 1, tasks: 1 }])
})
