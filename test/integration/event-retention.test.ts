import fc from 'fast-check'
import { escapeIdentifier } from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { parseCloudEvent } from '../../runtime/events/cloud-event.ts'
import { Jetstream } from '../../runtime/events/jetstream.ts'
import { Relay } from '../../runtime/events/relay.ts'
import { audit } from '../../runtime/features/audit/index.ts'
import { taskStatisticsProjection as statistics } from '../../runtime/features/tasks/statistics.ts'
import { catchUp } from '../../runtime/projections/catch-up.ts'
import type { Projection, StoredEvent } from '../../runtime/projections/projection.ts'
import { eventRetention } from '../../runtime/retention/events.ts'
import { sweepTenants } from '../../runtime/retention/sweep.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { ageEvents, DUE_DATES as DUE, happening, Life, removeOldEvents } from '../builders/history.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { ask, busOn, command, ownStream, sessionOn, silent, until } from '../builders/runtime.ts'

let database: TestDatabase
let session: Session
const release: (() => Promise<unknown>)[] = []
const times = (count: number) => Array.from({ length: count }, (_, index) => index)

const retain = (tenant: TenantContext, limit = 500, ...of: [ReturnType<typeof eventRetention>?]) =>
  removeOldEvents(session, tenant, limit, ...of)
const age = (tenant: TenantContext, position: number) => ageEvents(inject('postgres'), tenant, position)

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  session = sessionOn(database, { interactive: 6 })
})
afterEach(async () => {
  for (const end of release.splice(0).toReversed()) await end()
})
afterAll(async () => {
  await session.close()
  await database.drop()
})

/** Notes that the relay has come so far. */
const relayed = (tenant: TenantContext, position: number) =>
  database.asTenant(tenant, 'UPDATE tenantry.relayed SET position = greatest(position, $2) WHERE tenant = $1', [tenant.uid, position])

const project = (tenant: TenantContext, target = Number.POSITIVE_INFINITY, projection: Projection = statistics) =>
  catchUp(session, projection, tenant, target)

/** All of it, at once: relayed, projected, old. */
async function retainAll(tenant: TenantContext): Promise<void> {
  await project(tenant)
  await relayed(tenant, Number.MAX_SAFE_INTEGER)
  await age(tenant, Number.MAX_SAFE_INTEGER)
  while ((await retain(tenant)) > 0);
}

/** The read model as it stands. */
async function model(tenant: TenantContext): Promise<Record<string, unknown>[]> {
  return database.asTenant(
    tenant,
    `SELECT (SELECT json_agg(c ORDER BY status, priority) FROM (SELECT status, priority, tasks FROM task_counts WHERE tasks <> 0) c) AS counts,
            (SELECT json_agg(d ORDER BY due_date) FROM (SELECT due_date, tasks FROM task_due) d) AS due`,
  )
}

/** Has the model made anew, as if nothing had ever been projected. */
async function rebuild(tenant: TenantContext): Promise<Record<string, unknown>[]> {
  for (const table of statistics.tables) await database.asTenant(tenant, `DELETE FROM ${table}`)
  await database.asTenant(tenant, 'UPDATE checkpoints SET position = 0')
  await project(tenant)
  return model(tenant)
}

/** The positions of the events that are left. */
async function left(tenant: TenantContext): Promise<number[]> {
  const rows = await database.asTenant(tenant, 'SELECT position::int FROM events ORDER BY position')
  return rows.map(({ position }) => Number(position))
}

async function auditLines(tenant: TenantContext): Promise<unknown[]> {
  return JSON.parse((await ask(session, tenant, 'ListAudit', { limit: '100' }))?.body ?? '').items
}

/** Does what happens; gives how many events went. Half of the numbers mean all there is. */
async function happen(tenant: TenantContext, life: Life, kind: string, which: number): Promise<number> {
  const position = Math.min(life.history.length, Math.ceil((life.history.length * which) / 50))
  if (kind === 'project') await project(tenant, position)
  else if (kind === 'relay') await relayed(tenant, position)
  else if (kind !== 'retain') await life.live(kind, which)
  else {
    await age(tenant, position)
    return retain(tenant, 1 + (which % 9))
  }
  return 0
}

/** What the projection makes of a whole history, in a tenant that has nothing else. */
async function freshFold(history: readonly StoredEvent[]): Promise<Record<string, unknown>[]> {
  const fresh = await database.tenant('fresh', 'row')
  const events = history.map((event) => ({ ...event, tenantUid: fresh.uid }))
  await session.transaction(fresh, async (_, atEnd) => atEnd(...statistics.apply(fresh.uid, events, '')))
  return model(fresh)
}

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  test('MQ-10: events go at random points of a random history, and a rebuild is what a fresh fold of the whole history is', async () => {
    const totals = { runs: 0, events: 0, removed: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { minLength: 15, maxLength: 40 }), async (happenings) => {
        const tenant = await database.tenant('acme', isolation)
        const life = new Life(session, tenant)
        let removed = 0
        for (const { kind, which } of happenings) removed += await happen(tenant, life, kind, which)
        const { history } = life
        // And in any case half of all.
        for (const kind of ['create', 'project', 'relay']) await happen(tenant, life, kind, 50)
        await age(tenant, Math.ceil(history.length / 2))
        removed += await retain(tenant)
        expect(await left(tenant)).toEqual(history.slice(removed).map(({ position }) => position))
        const [mark] = await database.asTenant(tenant, 'SELECT position::int FROM tenantry.relayed')
        expect(removed).toBeLessThanOrEqual(Number(mark?.position))
        const folded = await freshFold(history)
        await project(tenant)
        expect(await model(tenant)).toEqual(folded)
        expect(await rebuild(tenant)).toEqual(folded)
        totals.runs += 1
        totals.events += history.length
        totals.removed += removed
      }),
      { numRuns: isolation === 'database' ? 4 : 12 },
    )
    printFigure(
      `MQ-10: (${isolation}): ${totals.runs} histories, ${totals.removed} of ${totals.events} events removed, 0 differences after a rebuild`,
    )
    expect(totals.removed).toBeGreaterThanOrEqual(totals.runs)
  })

  test('a model that is behind the removed events notices, and goes on from the snapshot', async () => {
    const tenant = await database.tenant('acme', isolation)
    const bus = busOn(session)
    await Promise.all(times(30).map((index) => command(bus, tenant, 'CreateTask', { title: 't', dueDate: DUE[index % 3] })))
    await retainAll(tenant)
    expect(await left(tenant)).toEqual([])
    const before = await model(tenant)
    // With nothing behind what went, and with something.
    await database.asTenant(tenant, 'UPDATE checkpoints SET position = 7')
    expect(await project(tenant)).toBe(30)
    expect(await model(tenant)).toEqual(before)
    const { id } = await command(bus, tenant, 'CreateTask', { title: 'new', dueDate: null })
    await database.asTenant(tenant, 'UPDATE checkpoints SET position = 7')
    expect(await project(tenant, 31)).toBe(31)
    await command(bus, tenant, 'DeleteTask', { id })
    await project(tenant)
    expect(await model(tenant)).toEqual(before)
  })

  test('the audit log keeps the lines of events that went, in their order, as long as its own days say', async () => {
    const tenant = await database.tenant('acme', isolation)
    const bus = busOn(session)
    for (const index of times(5)) {
      const { id } = await command(bus, tenant, 'CreateTask', { title: `${index}` })
      await command(bus, tenant, 'CompleteTask', { id })
      await command(bus, tenant, 'CompleteTask', { id }).catch(() => undefined)
    }
    const before = await auditLines(tenant)
    expect(before).toHaveLength(15)
    await retainAll(tenant)
    await command(bus, tenant, 'CreateTask', { title: 'new' })
    const [newest, ...older] = await auditLines(tenant)
    expect(newest).toMatchObject({ action: 'CreateTask', result: 'done' })
    const timeless = (lines: unknown[]) => lines.map((line) => ({ ...Object(line), time: undefined }))
    expect(timeless(older)).toEqual(timeless(before))
    const settings = { auditRetentionDays: 1 }
    const keeping = { ...tenant, route: { ...tenant.route, settings } }
    const sweep = { session, commands: bus, tenants: () => [keeping], log: silent, lookEvery: 20, sweepEvery: 0 }
    release.push(sweepTenants({ ...sweep, retentions: audit.retentions ?? [] }))
    // What was done is two days old by now; what was refused is not.
    await until(async () => (await auditLines(tenant)).length === 6)
  })

  test('MQ-03: while relay, projection and two sweeping replicas are at it, every event is published in order, and all go', async () => {
    const COUNT = 1_500
    const tenant = await database.tenant('acme', isolation)
    const keeping = { ...tenant, route: { ...tenant.route, settings: { eventRetentionDays: 1 } } }
    const superuser = await connectAsSuperuser(inject('postgres'), tenant.route.database)
    await superuser.query(
      `INSERT INTO ${escapeIdentifier(tenant.route.schema)}.events
       SELECT $1, n, gen_random_uuid(), 'task.created', gen_random_uuid(), 1, '{"after": {"status": "pending", "priority": "low", "dueDate": null}}', now() - interval '2 days'
       FROM generate_series(1, ${COUNT}) n`,
      [tenant.uid],
    )
    await superuser.query('UPDATE tenantry.head SET position = $2 WHERE tenant = $1', [tenant.uid, COUNT])
    await superuser.end()
    const place = ownStream()
    const jetstream = new Jetstream({ ...place, url: inject('nats').url, log: silent })
    release.push(() => jetstream.close())
    const positions: number[] = []
    jetstream.consume('gather', ({ text, ack }) => {
      const event = parseCloudEvent(text)
      if (event?.tenantUid === tenant.uid) positions.push(event.position)
      ack()
    })
    const sweep = {
      session,
      commands: busOn(session),
      tenants: () => [keeping],
      retentions: [eventRetention([statistics])],
      log: silent,
      lookEvery: 30,
      sweepEvery: 0,
    }
    for (const _ of times(2)) release.push(sweepTenants(sweep))
    const apart = () => (isolation === 'database' ? [tenant] : [])
    const found = { shards: () => [database.shard], route: (uid: string) => (uid === tenant.uid ? tenant : undefined), apart }
    const relay = new Relay({ session, jetstream, prefix: place.prefix, ...found, log: silent, pollEvery: 20, sweepEvery: 20 })
    release.push(() => relay.stop())
    const since = performance.now()
    await until(async () => {
      await project(tenant)
      return (await left(tenant)).length === 0
    })
    await until(() => new Set(positions).size === COUNT)
    printFigure(
      `event retention (${isolation}): ${COUNT} events published, projected and removed in ${((performance.now() - since) / 1_000).toFixed(1)} s, 0 lost`,
    )
    expect([...new Set(positions)]).toEqual(times(COUNT).map((index) => index + 1))
    expect(await rebuild(tenant)).toMatchObject([{ counts: [{ status: 'pending', priority: 'low', tasks: COUNT }] }])
  })
})

test('nothing goes that is not relayed, not projected, or not old enough', async () => {
  const tenant = await database.tenant('acme')
  const bus = busOn(session)
  for (const index of times(10)) await command(bus, tenant, 'CreateTask', { title: `${index}` })
  await age(tenant, 8)
  expect(await retain(tenant)).toBe(0)
  await relayed(tenant, 6)
  expect(await retain(tenant)).toBe(0)
  await project(tenant, 10)
  expect(await retain(tenant, 4)).toBe(4)
  expect(await retain(tenant, 4)).toBe(2)
  await relayed(tenant, 10)
  expect(await retain(tenant)).toBe(2)
  expect(await left(tenant)).toEqual([9, 10])
})

test('a projection that comes after events went is not made of half a history: it says so, and what is left stays', async () => {
  const tenant = await database.tenant('acme')
  const bus = busOn(session)
  await command(bus, tenant, 'CreateTask', { title: 'old' })
  await retainAll(tenant)
  await command(bus, tenant, 'CreateTask', { title: 'new' })
  const late = { ...statistics, name: 'late' }
  await expect(project(tenant, 2, late)).rejects.toThrow('no snapshot')
  await project(tenant)
  await relayed(tenant, 2)
  await age(tenant, 2)
  await database.asTenant(tenant, "INSERT INTO checkpoints VALUES ($1, 'late', 2)", [tenant.uid])
  await expect(retain(tenant, 500, eventRetention([statistics, late]))).rejects.toThrow('no snapshot')
  expect(await left(tenant)).toEqual([2])
})
