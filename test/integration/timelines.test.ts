import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { formatCloudEvent } from '../../runtime/events/cloud-event.ts'
import { Jetstream } from '../../runtime/events/jetstream.ts'
import { Relay } from '../../runtime/events/relay.ts'
import { nextUnrelayed } from '../../runtime/events/relayed.ts'
import { eventsAfter, toStoredEvent } from '../../runtime/events/store.ts'
import { subjectOf } from '../../runtime/events/subjects.ts'
import { takeBack } from '../../runtime/events/take-back.ts'
import { Timelines } from '../../runtime/events/timelines.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { busOn, command, ownStream, sessionOn, silent, until } from '../builders/runtime.ts'
import { eventsIn } from '../builders/stream.ts'

let database: TestDatabase
let session: Session
const release: (() => Promise<unknown>)[] = []
const times = (count: number) => Array.from({ length: count }, (_, index) => index)
const ELSEWHERE = '1/0000000F'

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  session = sessionOn(database, { interactive: 4 })
})
afterEach(async () => {
  for (const end of release.splice(0).toReversed()) await end()
})
afterAll(async () => {
  await session.close()
  await database.drop()
})

type World = { tenant: TenantContext; jetstream: Jetstream; stream: string; prefix: string }

/** A tenant whose ten events are in a stream of its own, and behind them three that its database does not know. */
async function setBackWorld(isolation: TenantContext['route']['isolation']): Promise<World> {
  const place = ownStream()
  const tenant = await database.tenant('acme', isolation)
  const jetstream = new Jetstream({ url: inject('nats').url, ...place, log: silent })
  release.push(() => jetstream.close())
  const bus = busOn(session)
  await Promise.all(times(10).map((index) => command(bus, tenant, 'CreateTask', { title: `${index}` })))
  const shared = { session, jetstream, prefix: place.prefix, shards: () => [database.shard], route: () => tenant, apart: () => [tenant] }
  const relay = new Relay({ ...shared, log: silent, pollEvery: 20, sweepEvery: 20 })
  await until(async () => (await relayed(tenant)) === 10)
  await relay.stop()
  const [last] = (await session.read(tenant, eventsAfter(tenant.uid, 9, 1))).map((row) => toStoredEvent(tenant.uid, row))
  if (last === undefined) throw new Error('there is no event')
  for (const position of [11, 12, 13]) {
    const id = randomUUID()
    await jetstream.publish(subjectOf(place.prefix, tenant.uid, last.type), formatCloudEvent({ ...last, id, position }), id)
  }
  return { tenant, jetstream, ...place }
}

async function relayed(tenant: TenantContext): Promise<number> {
  const [row] = await database.asTenant(tenant, 'SELECT position::int FROM tenantry.relayed WHERE tenant = $1', [tenant.uid])
  return Number(row?.position)
}

async function positions({ tenant, stream, prefix }: World): Promise<number[]> {
  return (await eventsIn(inject('nats').url, stream, `${prefix}.${tenant.uid}.>`)).map(({ position }) => position)
}

describe.for(ISOLATIONS)('a database that was set back, isolation %s', (isolation) => {
  test('what it does not know is taken out of the stream, and the relay goes on behind what both know', async () => {
    const world = await setBackWorld(isolation)
    // As after a second restore, to a later time than the first: the mark is ahead of what is left in the stream.
    await database.asTenant(world.tenant, 'UPDATE tenantry.relayed SET position = 13 WHERE tenant = $1', [world.tenant.uid])
    expect(await takeBack(session, world.jetstream, world.tenant)).toBe(3)
    expect(await positions(world)).toEqual(times(10).map((index) => index + 1))
    expect(await relayed(world.tenant)).toBe(10)
    expect(await takeBack(session, world.jetstream, world.tenant)).toBe(0)
  })

  test('nothing is relayed on another timeline than the one that the stream was made right for', async () => {
    const { tenant } = await setBackWorld(isolation)
    await command(busOn(session), tenant, 'CreateTask', { title: 'new' })
    const next = (timeline: string | undefined) => session.read(tenant, nextUnrelayed(tenant.uid, 10, timeline))
    expect((await next(undefined)).length).toBe(1)
    expect((await next(ELSEWHERE)).length).toBe(0)
  })

  test('a new timeline is noticed, each tenant is seen to, and only then relayed', async () => {
    const world = await setBackWorld(isolation)
    const { tenant, jetstream } = world
    await jetstream.note(`timeline.${database.shard}`, `${ELSEWHERE} ${Date.now() - 1_000} settled`)
    const rewinds: number[] = []
    const settled: string[] = []
    const open = () => {
      const timelines = new Timelines({
        session,
        jetstream,
        shards: () => [database.shard],
        tenants: () => [tenant],
        settle: async ({ uid }) => void settled.push(uid),
        onRewind: (agoMs) => rewinds.push(agoMs),
        log: silent,
        every: 20,
      })
      release.push(() => timelines.stop())
      return timelines
    }
    const first = open()
    await until(() => first.of(tenant))
    expect([settled, rewinds.length, await positions(world)]).toEqual([[tenant.uid], 1, times(10).map((index) => index + 1)])
    // Who starts later finds it done, and is told how long ago it was.
    await until(async () => (await jetstream.notes())[`timeline.${database.shard}`]?.endsWith(' settled'))
    const second = open()
    expect(await until(() => second.of(tenant))).toBe(first.of(tenant))
    expect([settled.length, rewinds.length]).toEqual([1, 2])
  })
})

test('an id that NATS remembers, of an event that was taken out, is not taken for published', async () => {
  const { jetstream, tenant, prefix } = await setBackWorld('schema')
  const [last] = (await session.read(tenant, eventsAfter(tenant.uid, 9, 1))).map((row) => toStoredEvent(tenant.uid, row))
  if (last === undefined) throw new Error('there is no event')
  const publish = () => jetstream.publish(subjectOf(prefix, tenant.uid, last.type), formatCloudEvent(last), last.id)
  await publish()
  for (let message = await jetstream.last(tenant.uid); message !== undefined; message = await jetstream.last(tenant.uid))
    await jetstream.remove(message.sequence)
  await expect(publish()).rejects.toThrow('taken out')
})
