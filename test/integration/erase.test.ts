import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { connectRedis } from '../../runtime/cache/connection.ts'
import { createSharedCache } from '../../runtime/cache/redis.ts'
import { createCache } from '../../runtime/cache/tiers.ts'
import type { CommandBus } from '../../runtime/commands/bus.ts'
import { Jetstream } from '../../runtime/events/jetstream.ts'
import { Relay } from '../../runtime/events/relay.ts'
import { followEvents } from '../../runtime/events/stream.ts'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { GetTask } from '../../runtime/features/tasks/queries.ts'
import { users } from '../../runtime/features/users/index.ts'
import { GetUser } from '../../runtime/features/users/queries.ts'
import { catchUp } from '../../runtime/projections/catch-up.ts'
import { createRead } from '../../runtime/queries/read.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { ageEvents, removeOldEvents } from '../builders/history.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { ask, busOn, command, ownStream, sessionOn, silent, until } from '../builders/runtime.ts'

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

/** A replica as main.ts puts it together: both levels of cache, which follow the events, and the relay. */
function replica(place: { stream: string; prefix: string }, tenant: TenantContext) {
  const session = sessionOn(database, { interactive: 4 })
  release.push(() => session.close())
  const connection = connectRedis(inject('redis').url, silent)
  release.push(async () => connection.close())
  const cache = createCache(createSharedCache(connection))
  const jetstream = new Jetstream({ ...place, url: inject('nats').url, log: silent })
  release.push(() => jetstream.close())
  const staleKeys = (event: Parameters<typeof tasks.invalidates>[0]) => [tasks, users].flatMap(({ invalidates }) => invalidates(event))
  followEvents(jetstream, {
    onEvent: (event) => cache.raise(event.tenantUid, staleKeys(event), event.position),
    onGap: () => cache.forget(),
  })
  const relay = new Relay({
    ...{ session, jetstream, prefix: place.prefix, log: silent, pollEvery: 50, sweepEvery: 50 },
    shards: () => [database.shard],
    route: (uid) => (uid === tenant.uid ? tenant : undefined),
    apart: () => (tenant.route.isolation === 'database' ? [tenant] : []),
  })
  release.push(() => relay.stop())
  const bus = busOn(session, ({ uid }, events) => {
    for (const event of events) cache.raise(uid, staleKeys(event), event.position)
    relay.wake(uid)
  })
  return { session, jetstream, bus, read: createRead(session, cache) }
}

/** Every row of every table in the tenant's database, as text. */
async function tables(tenant: TenantContext): Promise<string> {
  const client = await connectAsSuperuser(inject('postgres'), tenant.route.database)
  const { rows: names } = await client.query<{ name: string }>(
    "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text = ANY ($1)",
    [[tenant.route.schema, 'tenantry', 'tenantry_rows', 'tenant']],
  )
  const texts: string[] = []
  for (const { name } of names) texts.push(JSON.stringify((await client.query(`SELECT t::text FROM ${name} t`)).rows))
  await client.end()
  expect(names.length).toBeGreaterThanOrEqual(9)
  return texts.join('\n')
}

/** What Redis holds of a tenant. */
async function redisOf({ uid }: TenantContext): Promise<string> {
  const redis = new Redis(inject('redis').url)
  const keys = await redis.keys(`tenantry:${uid}:*`)
  const values = await Promise.all(keys.map((key) => redis.hgetall(key)))
  redis.disconnect()
  return JSON.stringify([keys, values])
}

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  test('an erased person is nowhere: tables, stream, caches, both replicas; and no rebuild brings them back', async () => {
    const word = `x${randomBytes(6).toString('hex')}`
    const person = { email: `${word}@example.com`, displayName: `Ann ${word} Lee` }
    const hits = (text: string) => text.split(word).length - 1
    const tenant = await database.tenant('acme', isolation)
    const place = ownStream()
    const [one, other] = [replica(place, tenant), replica(place, tenant)]
    const ann = await command(one.bus, tenant, 'RegisterUser', person, { idempotencyKey: 'kept' })
    const bob = await command(one.bus, tenant, 'RegisterUser', { email: 'bob@example.com', displayName: 'Bob' })
    const made = await Promise.all(
      times(301).map((n) => command(one.bus, tenant, 'CreateTask', { title: `${n}`, assignee: n < 300 ? ann.id : bob.id })),
    )
    await command(one.bus, tenant, 'CompleteTask', { id: made[0]?.id })
    const messages: string[] = []
    one.jetstream.consume(`look-${word}`, ({ text, ack }) => {
      messages.push(text)
      ack()
    })
    const streamed = (count: number) => until(() => new Set(messages).size === count)
    await streamed(304)
    for (const { read } of [one, other]) {
      expect((await read(tenant, GetUser, { id: ann.id }))?.body).toContain(word)
      expect((await read(tenant, GetTask, { id: made[1]?.id ?? '' }))?.body).toContain(ann.id)
    }
    // The caches are at work; a busy Redis may take nothing at first.
    let next = 2
    await until(async () => {
      next = (next % 299) + 1
      await one.read(tenant, GetTask, { id: made[next]?.id ?? '' })
      return (await redisOf(tenant)).includes(ann.id)
    })
    // In the row, and in the answer that is kept for retries.
    expect(hits(await tables(tenant))).toBe(4)

    const since = performance.now()
    const erased = await command(other.bus, tenant, 'EraseUser', { id: ann.id })
    const ms = performance.now() - since
    expect(erased).toEqual({ id: ann.id, version: 2, position: 605, body: undefined })
    for (const { read } of [one, other]) expect(await read(tenant, GetUser, { id: ann.id })).toBeUndefined()
    await streamed(605)
    for (const { read } of [one, other]) {
      const task = await read(tenant, GetTask, { id: made[1]?.id ?? '' })
      expect(JSON.parse(task?.body ?? '')).toMatchObject({ assignee: null, version: 2 })
    }
    const found = { tables: hits(await tables(tenant)), stream: hits(messages.join('\n')), redis: hits(await redisOf(tenant)) }
    printFigure(`erase (${isolation}): a user with 300 tasks in ${ms.toFixed(0)} ms; found afterwards: ${JSON.stringify(found)}`)
    expect(found).toEqual({ tables: 0, stream: 0, redis: 0 })

    const history = await database.asTenant(
      tenant,
      `SELECT (SELECT array_agg(position::int ORDER BY position) FROM events) AS positions, (SELECT (counts ->> 'users')::int FROM tenantry.head) AS users,
              (SELECT json_agg(e ORDER BY e.position) FROM (SELECT position, type, data FROM events WHERE aggregate_id = $1) e) AS ann,
              (SELECT count(*)::int FROM tasks WHERE assignee_id IS NOT NULL) AS assigned`,
      [ann.id],
    )
    expect(history).toEqual([
      {
        positions: times(605).map((index) => index + 1),
        users: 1,
        ann: [expect.objectContaining({ position: 1, type: 'user.registered' }), { position: 605, type: 'user.erased', data: {} }],
        assigned: 1,
      },
    ])
    const [projection] = tasks.projections
    if (projection === undefined) throw new Error('no projection')
    await catchUp(one.session, projection, tenant, Number.POSITIVE_INFINITY)
    const before = await ask(one.session, tenant, 'TaskStatistics', {})
    await (await database.adminOf(tenant)).query("SELECT set_config('app.tenant_id', $1, false)", [tenant.uid])
    await (await database.adminOf(tenant)).query(
      ['checkpoints', 'task_counts', 'task_due'].map((table) => `DELETE FROM "${tenant.route.schema}".${table};`).join(' '),
    )
    await catchUp(one.session, projection, tenant, Number.POSITIVE_INFINITY)
    expect(await ask(one.session, tenant, 'TaskStatistics', {})).toEqual(before)
    // Nor does the snapshot that is kept of events which went.
    await until(async () => (await database.asTenant(tenant, 'SELECT FROM tenantry.relayed WHERE position = 605')).length === 1)
    await ageEvents(inject('postgres'), tenant, 605)
    expect(await removeOldEvents(one.session, tenant, 605)).toBe(605)
    await database.asTenant(tenant, 'UPDATE checkpoints SET position = 0')
    await catchUp(one.session, projection, tenant, Number.POSITIVE_INFINITY)
    expect(await ask(one.session, tenant, 'TaskStatistics', {})).toEqual(before)
    expect(hits(await tables(tenant))).toBe(0)
    expect((await command(one.bus, tenant, 'RegisterUser', person)).id).not.toBe(ann.id)
  })

  test('whoever assigns tasks to a user who is just being erased leaves none behind', async () => {
    const tenant = await database.tenant('acme', isolation)
    const sessions = [sessionOn(database), sessionOn(database)]
    const [one, other] = sessions.map((session) => busOn(session))
    if (one === undefined || other === undefined) throw new Error('no replicas')
    const codeOf = (work: Promise<unknown>): Promise<string> =>
      work.then(
        () => 'done',
        ({ code }) => code,
      )
    /** Assigns one task after the other until that is refused; tells how many, and why no more. */
    const assign = async (bus: CommandBus, id: string) => {
      for (let count = 0; ; count += 1) {
        const code = await codeOf(command(bus, tenant, 'CreateTask', { title: `${count}`, assignee: id }))
        if (code !== 'done') return { count, code }
      }
    }
    const rounds = times(10).map(async (round) => {
      const { id } = await command(one, tenant, 'RegisterUser', { email: `u${round}@example.com`, displayName: 'Ann' })
      const assigning = [assign(one, id), assign(other, id)]
      expect(await codeOf(command(other, tenant, 'EraseUser', { id }))).toBe('done')
      return Promise.all(assigning)
    })
    const outcomes = (await Promise.all(rounds)).flat()
    printFigure(`erase (${isolation}): 10 users, ${outcomes.reduce((sum, { count }) => sum + count, 0)} tasks assigned to them meanwhile`)
    expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set(['invalid-request']))
    const rows = await database.asTenant(
      tenant,
      `SELECT (SELECT count(*)::int FROM users) AS users, (SELECT count(*)::int FROM tasks WHERE assignee_id IS NOT NULL) AS assigned,
              (SELECT (counts ->> 'users')::int FROM tenantry.head) AS counted`,
    )
    expect(rows).toEqual([{ users: 0, assigned: 0, counted: 0 }])
    const dense = await database.asTenant(tenant, 'SELECT count(*) = max(position) AS dense FROM events')
    expect(dense).toEqual([{ dense: true }])
    await Promise.all(sessions.map((session) => session.close()))
  })
})
