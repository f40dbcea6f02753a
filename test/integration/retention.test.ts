import { escapeIdentifier } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Log } from '../../config/log.ts'
import { audit } from '../../runtime/features/audit/index.ts'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { catchUp } from '../../runtime/projections/catch-up.ts'
import { sweepTenants } from '../../runtime/retention/sweep.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { ask, busOn, command, sessionOn, silent, until } from '../builders/runtime.ts'

let database: TestDatabase
const release: (() => Promise<unknown>)[] = []
const times = (count: number) => Array.from({ length: count }, (_, index) => index)

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
})
afterEach(async () => {
  for (const end of release.splice(0).toReversed()) await end()
})
afterAll(() => database.drop())

function replica() {
  const session = sessionOn(database)
  release.push(() => session.close())
  return { session, bus: busOn(session) }
}

type Options = { lookEvery?: number; sweepEvery?: number; log?: Log; retentions?: typeof tasks.retentions }

function sweep({ session, bus }: ReturnType<typeof replica>, tenants: TenantContext[], options: Options = {}): void {
  const { retentions = tasks.retentions ?? [], log = silent, lookEvery = 20, sweepEvery = 1 } = options
  release.push(sweepTenants({ session, commands: bus, retentions, tenants: () => tenants, log, lookEvery, sweepEvery }))
}

function keeping(tenant: TenantContext, settings: Record<string, unknown>): TenantContext {
  return { ...tenant, route: { ...tenant.route, settings } }
}

/** So many completed tasks, whose completion is so many days ago. */
async function completed({ bus }: ReturnType<typeof replica>, tenant: TenantContext, count: number, days: number): Promise<string[]> {
  const ids = await Promise.all(times(count).map(async () => (await command(bus, tenant, 'CreateTask', { title: `${days} days` })).id))
  await Promise.all(ids.map((id) => command(bus, tenant, 'CompleteTask', { id })))
  await database.asTenant(tenant, 'UPDATE tasks SET completed_at = now() - make_interval(days => $2) WHERE id = ANY ($1::uuid[])', [
    ids,
    days,
  ])
  return ids
}

const left = (tenant: TenantContext) => database.asTenant(tenant, 'SELECT title, count(*)::int FROM tasks GROUP BY title ORDER BY title')

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  test('completed tasks go after their days, once, over two replicas, and everything follows', async () => {
    const [one, other] = [replica(), replica()]
    const tenant = keeping(await database.tenant('acme', isolation), { taskRetentionDays: 30, colour: 'red' })
    const free = await database.tenant('free', isolation)
    await completed(one, tenant, 150, 31)
    await completed(one, tenant, 5, 29)
    await command(one.bus, tenant, 'CreateTask', { title: 'open' })
    await completed(one, free, 3, 4_000)
    const since = performance.now()
    for (const each of [one, other]) sweep(each, [tenant, free])
    await until(async () => (await left(tenant)).length === 2)
    printFigure(`retention (${isolation}): 150 of 156 tasks gone after ${((performance.now() - since) / 1_000).toFixed(1)} s`)
    expect(await left(tenant)).toEqual([
      { title: '29 days', count: 5 },
      { title: 'open', count: 1 },
    ])
    expect(await left(free)).toEqual([{ title: '4000 days', count: 3 }])
    const [projection] = tasks.projections
    if (projection === undefined) throw new Error('no projection')
    await catchUp(one.session, projection, tenant, Number.POSITIVE_INFINITY)
    expect(JSON.parse((await ask(one.session, tenant, 'TaskStatistics', {}))?.body ?? '')).toMatchObject({ total: 6, completed: 5 })
    const events = await database.asTenant(
      tenant,
      "SELECT count(*)::int AS deleted, array_agg(DISTINCT caller) AS callers, count(DISTINCT xmin::text)::int AS commits FROM events WHERE type = 'task.deleted'",
    )
    expect(events).toEqual([{ deleted: 150, callers: ['retention'], commits: expect.any(Number) }])
    expect(Number(events[0]?.commits)).toBeLessThan(150)
  })
})

test('a task that was taken up again since it was found stays', async () => {
  const one = replica()
  const tenant = keeping(await database.tenant('acme'), { taskRetentionDays: 1 })
  const [id = ''] = await completed(one, tenant, 1, 2)
  await command(one.bus, tenant, 'UpdateTask', { id, status: 'pending' })
  let looks = 0
  // What a look before the change has found.
  const found = {
    ...{ setting: 'taskRetentionDays', command: 'DeleteTask' },
    find: (uid: string) => {
      looks += 1
      return { name: 'stale', text: () => 'SELECT $1::uuid AS id, 2 AS version WHERE $2::uuid IS NOT NULL', values: [id, uid] }
    },
  }
  sweep(one, [tenant], { retentions: [found], sweepEvery: 0 })
  await until(() => looks >= 3)
  expect(await left(tenant)).toEqual([{ title: '2 days', count: 1 }])
})

test('a setting that is no number of days removes nothing, and is told once; a suspended tenant keeps everything', async () => {
  const one = replica()
  const told: unknown[] = []
  const log: Log = { ...silent, warn: (fields) => told.push(fields) }
  const wrong: TenantContext[] = []
  for (const days of ['30', 0, -1, 1.5, null, {}]) wrong.push(keeping(await database.tenant('wrong'), { taskRetentionDays: days }))
  const well = keeping(await database.tenant('well'), { taskRetentionDays: 30 })
  const ended = keeping(await database.tenant('ended'), { taskRetentionDays: 30 })
  const suspended = { ...ended, route: { ...ended.route, subscriptionEndsAt: '2026-01-01T00:00:00.000Z' } }
  for (const tenant of [...wrong, well, suspended]) await completed(one, tenant, 1, 4_000)
  sweep(one, [...wrong, suspended], { log })
  await until(() => told.length === wrong.length)
  sweep(one, [suspended, well])
  await until(async () => (await left(well)).length === 0)
  for (const tenant of [...wrong, suspended]) expect(await left(tenant)).toHaveLength(1)
  expect(told).toEqual(wrong.map(({ uid }) => ({ tenant: uid, setting: 'taskRetentionDays' })))
})

test.for(ISOLATIONS)('isolation %s: lines of the audit log go after their days, and the events stay', async (isolation) => {
  const one = replica()
  const tenant = keeping(await database.tenant('acme', isolation), { auditRetentionDays: 30 })
  const { id } = await command(one.bus, tenant, 'CreateTask', { title: 'old' })
  await command(one.bus, tenant, 'CompleteTask', { id })
  await command(one.bus, tenant, 'CompleteTask', { id }).catch(() => undefined)
  // The tenant's own role may change no event's time.
  const superuser = await connectAsSuperuser(inject('postgres'), tenant.route.database)
  for (const table of ['events', 'audit']) {
    const name = `${escapeIdentifier(tenant.route.schema)}.${table}`
    await superuser.query(`UPDATE ${name} SET time = time - interval '31 days' WHERE tenant_id = $1`, [tenant.uid])
  }
  await superuser.end()
  await command(one.bus, tenant, 'CreateTask', { title: 'new' })
  await command(one.bus, tenant, 'CompleteTask', { id }).catch(() => undefined)
  const lines = async () => JSON.parse((await ask(one.session, tenant, 'ListAudit', {}))?.body ?? '').items
  expect(await lines()).toHaveLength(5)
  sweep(one, [tenant], { retentions: audit.retentions ?? [] })
  await until(async () => (await lines()).length === 2)
  expect((await lines()).map(({ action, result }: Record<string, string>) => `${action} ${result}`)).toEqual([
    'CompleteTask conflict',
    'CreateTask done',
  ])
  expect(await database.asTenant(tenant, 'SELECT count(*)::int AS events FROM events WHERE tenant_id = $1', [tenant.uid])).toEqual([
    { events: 3 },
  ])
})
