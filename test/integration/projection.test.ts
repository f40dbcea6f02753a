import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { startNats } from '../../config/local/servers/nats.ts'
import type { Isolation } from '../../crds/tenant.ts'
import { formatCloudEvent } from '../../runtime/events/cloud-event.ts'
import { Jetstream } from '../../runtime/events/jetstream.ts'
import { Relay } from '../../runtime/events/relay.ts'
import { eventsAfter, toStoredEvent } from '../../runtime/events/store.ts'
import { subjectOf } from '../../runtime/events/subjects.ts'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { Projector } from '../../runtime/projections/projector.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { ask, busOn, command, ownStream, sessionOn, silent, until } from '../builders/runtime.ts'

let database: TestDatabase
let session: Session
const tenants: TenantContext[] = []
const release: (() => Promise<unknown>)[] = []
const times = (count: number) => Array.from({ length: count }, (_, index) => index)

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
})
afterAll(() => database.drop())

beforeEach(() => {
  session = sessionOn(database, { interactive: 6 })
})
afterEach(async () => {
  for (const end of release.splice(0).toReversed()) await end()
  await session.close()
  tenants.length = 0
})

async function newTenant(id: string, isolation: Isolation = 'schema'): Promise<TenantContext> {
  const tenant = await database.tenant(id, isolation)
  tenants.push(tenant)
  return tenant
}

const route = (uid: string) => tenants.find((tenant) => tenant.uid === uid)
const shards = () => [database.shard]
const apart = () => tenants.filter(({ route }) => route.isolation === 'database')

function jetstreamOn(place: { stream: string; prefix: string }, url = inject('nats').url): Jetstream {
  const jetstream = new Jetstream({ url, ...place, log: silent })
  release.push(() => jetstream.close())
  return jetstream
}

function projectOn(jetstream: Jetstream): void {
  const projector = new Projector({ session, jetstream, projections: tasks.projections, shards, route, apart, log: silent })
  release.push(() => projector.stop())
}

function relayOn(jetstream: Pick<Jetstream, 'isConnected' | 'publish'>, prefix: string): void {
  const relay = new Relay({ session, jetstream, prefix, shards, route, apart, log: silent, pollEvery: 20, sweepEvery: 50 })
  release.push(() => relay.stop())
}

/** A life of tasks: made, changed, taken up again, completed, deleted, with due dates on both sides of now. */
async function work(tenant: TenantContext, count: number): Promise<void> {
  const bus = busOn(session)
  const dueDates = ['2001-01-01T00:00:00Z', '2002-02-02T00:00:00Z', '2099-01-01T00:00:00Z', null]
  const priorities = ['low', 'medium', 'high', 'urgent']
  await Promise.all(
    times(count).map(async (index) => {
      const { id } = await command(bus, tenant, 'CreateTask', {
        title: 'task',
        dueDate: dueDates[index % 4],
        priority: priorities[index % 3],
      })
      if (index % 2 === 0) await command(bus, tenant, 'UpdateTask', { id, status: 'in_progress', dueDate: dueDates[index % 3] })
      if (index % 3 === 0) await command(bus, tenant, 'CompleteTask', { id })
      if (index % 6 === 0) await command(bus, tenant, 'UpdateTask', { id, status: 'pending', priority: 'urgent' })
      if (index % 5 === 0) await command(bus, tenant, 'DeleteTask', { id })
    }),
  )
}

/** The statistics, counted from the tasks themselves. */
async function counted(tenant: TenantContext): Promise<object> {
  const [row] = await database.asTenant(
    tenant,
    `SELECT json_build_object('total', count(*), 'completed', count(*) FILTER (WHERE status = 'completed'), 'pending', count(*) FILTER (WHERE status = 'pending'),
       'overdue', count(*) FILTER (WHERE status <> 'completed' AND due_date < now()),
       'byPriority', json_build_object('low', count(*) FILTER (WHERE priority = 'low'), 'medium', count(*) FILTER (WHERE priority = 'medium'),
                                       'high', count(*) FILTER (WHERE priority = 'high'), 'urgent', count(*) FILTER (WHERE priority = 'urgent')),
       'byStatus', json_build_object('pending', count(*) FILTER (WHERE status = 'pending'), 'in_progress', count(*) FILTER (WHERE status = 'in_progress'),
                                     'completed', count(*) FILTER (WHERE status = 'completed'))) AS statistics FROM tasks`,
  )
  return Object(row?.statistics)
}

async function projected(tenant: TenantContext): Promise<{ position: number; statistics: object }> {
  const answer = await ask(session, tenant, 'TaskStatistics', {})
  return { position: answer?.position ?? 0, statistics: JSON.parse(answer?.body ?? '') }
}

async function headOf(tenant: TenantContext): Promise<number> {
  const [row] = await database.asTenant(tenant, 'SELECT position::int FROM tenantry.head')
  return Number(row?.position)
}

async function expectCaughtUp(tenant: TenantContext): Promise<void> {
  const head = await headOf(tenant)
  await until(async () => (await projected(tenant)).position === head)
  expect((await projected(tenant)).statistics).toEqual(await counted(tenant))
}

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  test('the statistics are what the tasks are, with two replicas that relay and project', async () => {
    const place = ownStream()
    const both = [await newTenant('a', isolation), await newTenant('b', isolation)]
    for (const jetstream of [jetstreamOn(place), jetstreamOn(place)]) {
      projectOn(jetstream)
      relayOn(jetstream, place.prefix)
    }
    await Promise.all(both.map((tenant) => work(tenant, 120)))
    for (const tenant of both) await expectCaughtUp(tenant)
  })

  test('MQ-04: events published again after the window, doubled and in any order have one effect', async () => {
    const place = ownStream()
    const tenant = await newTenant('acme', isolation)
    const jetstream = jetstreamOn(place)
    projectOn(jetstream)
    await work(tenant, 60)
    const events = (await session.read(tenant, eventsAfter(tenant.uid, 0, 1_000))).map((row) => toStoredEvent(tenant.uid, row))
    await until(() => jetstream.isConnected)
    for (const round of ['once', 'again', 'and again']) {
      // Another message id each time: what NATS takes for the same is no help here.
      const shuffled = events.toSorted(() => Math.random() - 0.5)
      await Promise.all(
        shuffled.map((event) =>
          jetstream.publish(subjectOf(place.prefix, tenant.uid, event.type), formatCloudEvent(event), `${event.id} ${round}`),
        ),
      )
    }
    await expectCaughtUp(tenant)
  })

  test('events that NATS lost on the way are read from the event table', async () => {
    const place = ownStream()
    const tenant = await newTenant('acme', isolation)
    const jetstream = jetstreamOn(place)
    projectOn(jetstream)
    let count = 0
    const losing = {
      get isConnected() {
        return jetstream.isConnected
      },
      publish: async (...event: Parameters<Jetstream['publish']>) => {
        count += 1
        if (count % 3 === 0) await jetstream.publish(...event)
      },
    }
    relayOn(losing, place.prefix)
    await work(tenant, 60)
    await until(
      async () =>
        Number((await database.asTenant(tenant, 'SELECT position FROM tenantry.relayed'))[0]?.position) === (await headOf(tenant)),
    )
    // One that arrives shows that others did not.
    count = 2
    await command(busOn(session), tenant, 'CreateTask', { title: 'last' })
    await expectCaughtUp(tenant)
  })

  test('a tenant whose events cannot be projected holds up nobody else, and heals', async () => {
    const place = ownStream()
    const [ill, well] = [await newTenant('ill', isolation), await newTenant('well', isolation)]
    const counts = `"${ill.route.schema}".task_counts`
    const admin = await database.adminOf(ill)
    await admin.query(`ALTER TABLE ${counts} ADD CONSTRAINT poison CHECK (tasks < 3 OR tenant_id <> '${ill.uid}')`)
    const jetstream = jetstreamOn(place)
    projectOn(jetstream)
    relayOn(jetstream, place.prefix)
    await Promise.all([work(ill, 60), work(well, 60)])
    await expectCaughtUp(well)
    expect((await projected(ill)).position).toBeLessThan(await headOf(ill))
    await admin.query(`ALTER TABLE ${counts} DROP CONSTRAINT poison`)
    await expectCaughtUp(ill)
  })
})

test('events of a tenant that routing does not know yet wait for it', async () => {
  const place = ownStream()
  const jetstream = jetstreamOn(place)
  projectOn(jetstream)
  const late = await database.tenant('late')
  await work(late, 10)
  const relay = new Relay({ session, jetstream, prefix: place.prefix, shards, route: () => late, log: silent, pollEvery: 20 })
  release.push(() => relay.stop())
  await until(
    async () => Number((await database.asTenant(late, 'SELECT position FROM tenantry.relayed'))[0]?.position) === (await headOf(late)),
  )
  expect((await projected(late)).position).toBe(0)
  tenants.push(late)
  await expectCaughtUp(late)
})

test.for(ISOLATIONS)('a message about events that the database does not have is not believed, isolation %s', async (isolation) => {
  const place = ownStream()
  const tenant = await newTenant('acme', isolation)
  const jetstream = jetstreamOn(place)
  await work(tenant, 30)
  projectOn(jetstream)
  await until(() => jetstream.isConnected)
  const head = await headOf(tenant)
  const last = (await session.read(tenant, eventsAfter(tenant.uid, head - 1, 1))).map((row) => toStoredEvent(tenant.uid, row))
  // As they stand in the stream when the database was restored to a time before them.
  for (const event of last)
    for (const ahead of times(5)) {
      const id = randomUUID()
      const ghost = { ...event, id, type: 'task.created', aggregateId: id, aggregateVersion: 1, position: head + 1 + ahead }
      await jetstream.publish(
        subjectOf(place.prefix, tenant.uid, ghost.type),
        formatCloudEvent({ ...ghost, data: { title: 'ghost', priority: 'urgent' } }),
        id,
      )
    }
  await expectCaughtUp(tenant)
  relayOn(jetstream, place.prefix)
  await work(tenant, 30)
  await expectCaughtUp(tenant)
})

test('NATS lost its data before the projection had read it: the event table is enough', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-nats-'))
  release.push(() => rm(folder, { recursive: true, force: true }))
  let nats = await startNats({ folder, durable: false })
  release.push(() => nats.stop())
  const place = ownStream()
  const tenant = await newTenant('acme')
  const publisher = jetstreamOn(place, nats.url)
  relayOn(publisher, place.prefix)
  await work(tenant, 30)
  await until(
    async () => Number((await database.asTenant(tenant, 'SELECT position FROM tenantry.relayed'))[0]?.position) === (await headOf(tenant)),
  )
  await nats.kill('SIGKILL')
  await rm(join(folder, 'jetstream'), { recursive: true, force: true })
  projectOn(publisher)
  nats = await startNats({ folder, durable: false })
  await expectCaughtUp(tenant)
})
