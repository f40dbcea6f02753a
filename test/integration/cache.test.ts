import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { startRedis } from '../../config/local/servers/redis.ts'
import { connectRedis, type RedisConnection } from '../../runtime/cache/connection.ts'
import { createSharedCache } from '../../runtime/cache/redis.ts'
import { createCache } from '../../runtime/cache/tiers.ts'
import { createCommandBus } from '../../runtime/commands/bus.ts'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { GetTask } from '../../runtime/features/tasks/queries.ts'
import type { Answer } from '../../runtime/queries/query.ts'
import { createRead, type RowReader } from '../../runtime/queries/read.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { command, sessionOn, silent } from '../builders/runtime.ts'
import { startTcpProxy } from '../faults/tcp-proxy.ts'

let database: TestDatabase
let session: Session
let acme: TenantContext
const connections: RedisConnection[] = []

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  session = sessionOn(database)
  acme = await database.tenant('acme')
})

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close()
})

afterAll(async () => {
  await session?.close()
  await database?.drop()
})

/** One replica: its caches, the loads it has made, and a gate that holds what they found. */
function replica(redisUrl = inject('redis').url) {
  const connection = connectRedis(redisUrl, silent)
  connections.push(connection)
  const cache = createCache(createSharedCache(connection))
  const state = { loads: 0, gate: Promise.resolve() }
  const rows: RowReader = {
    read: async (tenant, statement, signal) => {
      state.loads += 1
      const { gate } = state
      const found = await session.read(tenant, statement, signal)
      await gate
      return found
    },
  }
  const read = createRead(rows, cache)
  const bus = createCommandBus({
    session,
    commands: tasks.commands,
    onCommit: ({ uid }, events) => {
      for (const event of events) cache.raise(uid, tasks.invalidates(event), event.position)
    },
  })
  return {
    state,
    cache,
    get: (id: string): Promise<Answer | undefined> => read(acme, GetTask, { id }),
    run: (name: string, input: object) => command(bus, acme, name, input),
    /** Holds what loads find until the returned function is called. */
    hold: (): (() => void) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      state.gate = promise
      return resolve
    },
    /** Lets later loads through, also while earlier ones are held. */
    pass: (): void => {
      state.gate = Promise.resolve()
    },
  }
}

const titleOf = (answer: Answer | undefined): unknown => (answer === undefined ? undefined : JSON.parse(answer.body).title)

/** Waits until Redis is reached, since a cache does not wait for it. */
async function connected(one: ReturnType<typeof replica>): Promise<void> {
  const { id } = await one.run('CreateTask', { title: 'probe' })
  const url = inject('redis').url
  const redis = new Redis(url)
  await vi.waitFor(async () => {
    one.cache.forget()
    await one.get(id)
    expect(await redis.hget(`tenantry:${acme.uid}:task:${id}`, 'b')).not.toBeNull()
  }, 10_000)
  redis.disconnect()
}

describe.for(ISOLATIONS)('CA-02: a load that is held open over a write, isolation %s', (isolation) => {
  beforeAll(async () => {
    acme = await database.tenant('acme', isolation)
  })

  test('never brings the old value back, in L1, in L2 or on another replica', async () => {
    const [first, second] = [replica(), replica()]
    await Promise.all([connected(first), connected(second)])
    const { id } = await first.run('CreateTask', { title: 'old' })
    const loads = first.state.loads + second.state.loads
    const release = [first.hold(), second.hold()]
    const held = [first.get(id), second.get(id)]
    await vi.waitFor(() => expect(first.state.loads + second.state.loads).toBe(loads + 2))
    first.pass()
    second.pass()
    const { position } = await first.run('UpdateTask', { id, title: 'new' })
    // The writer's own replica: at once, also while the old load is still under way.
    expect(titleOf(await first.get(id))).toBe('new')
    for (const end of release) end()
    await Promise.all(held)
    expect(titleOf(await first.get(id))).toBe('new')
    // The other one from the moment on that the event reaches it.
    second.cache.raise(acme.uid, tasks.invalidates({ type: 'task.updated', aggregateId: id }), position)
    expect(titleOf(await second.get(id))).toBe('new')
    expect(titleOf(await replica().get(id))).toBe('new')
  })

  test('finds nothing after a delete', async () => {
    const one = replica()
    await connected(one)
    const { id } = await one.run('CreateTask', { title: 'short-lived' })
    const release = one.hold()
    const before = one.state.loads
    const held = one.get(id)
    await vi.waitFor(() => expect(one.state.loads).toBe(before + 1))
    one.pass()
    await one.run('DeleteTask', { id })
    release()
    await held
    expect(await one.get(id)).toBeUndefined()
    expect(await replica().get(id)).toBeUndefined()
  })
})

test('CA-04: 200 misses at once on each of 4 replicas load at most once a replica', async () => {
  const replicas = [replica(), replica(), replica(), replica()]
  const { id } = await replica().run('CreateTask', { title: 'wanted' })
  const before = replicas.reduce((sum, one) => sum + one.state.loads, 0)
  const answers = await Promise.all(replicas.flatMap((one) => Array.from({ length: 200 }, () => one.get(id))))
  const loads = replicas.reduce((sum, one) => sum + one.state.loads, 0) - before
  expect(new Set(answers.map(titleOf))).toEqual(new Set(['wanted']))
  expect(loads).toBeLessThanOrEqual(replicas.length)
  printFigure(`CA-04: ${loads} loads for ${answers.length} misses on ${replicas.length} replicas`)
})

test('CA-01: an entry of another tenant is not read, whatever its key says', async () => {
  const one = replica()
  await connected(one)
  const { id } = await one.run('CreateTask', { title: 'mine' })
  const redis = new Redis(inject('redis').url)
  await redis.hset(`tenantry:${acme.uid}:task:${id}`, { p: 1e9, v: 9, t: 'another-tenant', b: '{"title":"foreign"}' })
  redis.disconnect()
  expect(titleOf(await one.get(id))).toBe('mine')
})

describe('CA-06: Redis in trouble', () => {
  test('away from the start: reads go to Postgres', async () => {
    const one = replica('redis://127.0.0.1:1')
    const { id } = await one.run('CreateTask', { title: 'there' })
    expect(titleOf(await one.get(id))).toBe('there')
  })

  test('that answers nothing: reads are answered within its short deadline, then by the breaker at once', async () => {
    const proxy = await startTcpProxy({ host: '127.0.0.1', port: Number(new URL(inject('redis').url).port) })
    const one = replica(`redis://127.0.0.1:${proxy.port}`)
    await connected(one)
    const { id } = await one.run('CreateTask', { title: 'there' })
    proxy.blackHole()
    let slowest = 0
    for (let round = 0; round < 10; round += 1) {
      one.cache.forget()
      const begun = performance.now()
      expect(titleOf(await one.get(id))).toBe('there')
      slowest = Math.max(slowest, performance.now() - begun)
    }
    expect(slowest).toBeLessThan(1_000)
    printFigure(`CA-06: slowest read while Redis hangs: ${Math.round(slowest)} ms`)
    await proxy.close()
  })

  test('killed and full: nothing fails, nothing old is read', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tenantry-redis-'))
    const server = await startRedis({ folder, durable: false })
    const [one, two] = [replica(server.url), replica(server.url)]
    const { id } = await one.run('CreateTask', { title: 'v1' })
    expect(titleOf(await two.get(id))).toBe('v1')
    const redis = new Redis(server.url)
    await redis.config('SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction')
    redis.disconnect()
    await one.run('UpdateTask', { id, title: 'v2' })
    expect(titleOf(await one.get(id))).toBe('v2')
    two.cache.forget()
    await vi.waitFor(async () => {
      two.cache.forget()
      expect(titleOf(await two.get(id))).toBe('v2')
    }, 5_000)
    await server.kill('SIGKILL')
    await one.run('UpdateTask', { id, title: 'v3' })
    expect(titleOf(await one.get(id))).toBe('v3')
    expect(await Promise.all(Array.from({ length: 50 }, () => two.get(id).then(titleOf)))).not.toContain(undefined)
    await rm(folder, { recursive: true, force: true })
  })
})
