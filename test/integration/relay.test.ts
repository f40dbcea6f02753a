import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import { startNats } from '../../config/local/servers/nats.ts'
import { parseCloudEvent } from '../../runtime/events/cloud-event.ts'
import { Jetstream } from '../../runtime/events/jetstream.ts'
import { Relay } from '../../runtime/events/relay.ts'
import type { StoredEvent } from '../../runtime/projections/projection.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { busOn, command, ownStream, sessionOn, silent, until } from '../builders/runtime.ts'
import { startTcpProxy } from '../faults/tcp-proxy.ts'

let database: TestDatabase
let session: Session
const release: (() => Promise<unknown>)[] = []
const times = (count: number) => Array.from({ length: count }, (_, index) => index)

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
})
afterAll(() => database.drop())

beforeEach(() => {
  session = sessionOn(database, { interactive: 4 })
})
afterEach(async () => {
  for (const end of release.splice(0).toReversed()) await end()
  await session.close()
})

type Place = { stream: string; prefix: string; url?: string }

function jetstreamOn({ url = inject('nats').url, stream, prefix }: Place): Jetstream {
  const jetstream = new Jetstream({ url, stream, prefix, log: silent })
  release.push(() => jetstream.close())
  return jetstream
}

function relayOn(jetstream: Pick<Jetstream, 'isConnected' | 'publish'>, prefix: string, tenants: TenantContext[], pollEvery = 50): Relay {
  const relay = new Relay({
    session,
    jetstream,
    prefix,
    shards: () => [database.shard],
    route: (uid) => tenants.find((tenant) => tenant.uid === uid),
    apart: () => tenants.filter((tenant) => tenant.route.isolation === 'database'),
    log: silent,
    pollEvery,
    sweepEvery: pollEvery,
  })
  release.push(() => relay.stop())
  return relay
}

/** Gathers what a durable consumer of its own is given, first deliveries and later ones. */
function gather(jetstream: Jetstream): StoredEvent[] {
  const events: StoredEvent[] = []
  jetstream.consume('gather', (message) => {
    const event = parseCloudEvent(message.text)
    if (event !== undefined) events.push(event)
    message.ack()
  })
  return events
}

const positionsOf = (events: readonly StoredEvent[], tenant: TenantContext) =>
  events.filter(({ tenantUid }) => tenantUid === tenant.uid).map(({ position }) => position)

describe.for(ISOLATIONS)('relay, isolation %s', (isolation) => {
  test('MQ-01: an event committed late is published, in order, and nobody overtakes it', async () => {
    const place = ownStream()
    const tenant = await database.tenant('acme', isolation)
    const jetstream = jetstreamOn(place)
    const events = gather(jetstream)
    const relay = relayOn(jetstream, place.prefix, [tenant])
    const bus = busOn(session, ({ uid }) => relay.wake(uid))
    await command(bus, tenant, 'CreateTask', { title: 'before' })

    // A writer that has taken its number, and waits before it commits.
    const slow = await holdOpen(tenant)
    const fast = times(5).map((index) => command(bus, tenant, 'CreateTask', { title: `behind ${index}` }))
    await until(() => positionsOf(events, tenant).length === 1)
    relay.wake(tenant.uid)
    await slow.commit()
    await Promise.all(fast)

    await until(() => positionsOf(events, tenant).length === 7)
    expect(positionsOf(events, tenant)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(events.find(({ position }) => position === 2)?.type).toBe('task.slow')
  })

  test('events of many tenants arrive whole and in order, woken or found by polling', async () => {
    const place = ownStream()
    const tenants = [await database.tenant('a', isolation), await database.tenant('b', isolation), await database.tenant('c', isolation)]
    const jetstream = jetstreamOn(place)
    const events = gather(jetstream)
    const relay = relayOn(jetstream, place.prefix, tenants)
    const woken = busOn(session, ({ uid }) => relay.wake(uid))
    const silently = busOn(session)
    await Promise.all(
      times(300).flatMap((index) =>
        tenants.map((tenant) => command(index % 2 ? woken : silently, tenant, 'CreateTask', { title: `${index}` })),
      ),
    )
    await until(() => events.length >= 900)
    for (const tenant of tenants) expect(positionsOf(events, tenant)).toEqual(times(300).map((index) => index + 1))
  })

  test('two relays at once publish each event, in order, and wait for each other per tenant', async () => {
    const place = ownStream()
    const tenants = [await database.tenant('a', isolation), await database.tenant('b', isolation)]
    const events = gather(jetstreamOn(place))
    relayOn(jetstreamOn(place), place.prefix, tenants, 20)
    relayOn(jetstreamOn(place), place.prefix, tenants, 30)
    const bus = busOn(session)
    await Promise.all(times(200).flatMap((index) => tenants.map((tenant) => command(bus, tenant, 'CreateTask', { title: `${index}` }))))
    await until(() => events.length >= 400)
    for (const tenant of tenants) expect(positionsOf(events, tenant)).toEqual(times(200).map((index) => index + 1))
  })
})

describe('relay and NATS', () => {
  test('NATS away: commands succeed, events wait, and come when it is back', async () => {
    const place = ownStream()
    const tenant = await database.tenant()
    const nats = new URL(inject('nats').url)
    const proxy = await startTcpProxy({ host: nats.hostname, port: Number(nats.port) })
    release.push(() => proxy.close())
    proxy.down()
    const jetstream = jetstreamOn({ ...place, url: `nats://127.0.0.1:${proxy.port}` })
    const events = gather(jetstream)
    const relay = relayOn(jetstream, place.prefix, [tenant])
    const bus = busOn(session, ({ uid }) => relay.wake(uid))
    await command(bus, tenant, 'CreateTask', { title: 'never met NATS' })
    proxy.mend()
    await until(() => events.length === 1)
    proxy.down()
    await until(() => !jetstream.isConnected)
    await Promise.all(times(20).map((index) => command(bus, tenant, 'CreateTask', { title: `${index}` })))
    proxy.mend()
    await until(() => new Set(positionsOf(events, tenant)).size === 21)
  })

  test('NATS has lost its data: the stream and the consumers are made again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tenantry-nats-'))
    release.push(() => rm(folder, { recursive: true, force: true }))
    let nats = await startNats({ folder, durable: false })
    release.push(() => nats.stop())
    const place = ownStream()
    const tenant = await database.tenant()
    const jetstream = jetstreamOn({ ...place, url: nats.url })
    let madeAnew = 0
    jetstream.whenNew(() => {
      madeAnew += 1
    })
    const events = gather(jetstream)
    relayOn(jetstream, place.prefix, [tenant])
    const bus = busOn(session)
    await command(bus, tenant, 'CreateTask', { title: 'before' })
    await until(() => events.length === 1)
    await nats.kill('SIGKILL')
    await rm(join(folder, 'jetstream'), { recursive: true, force: true })
    await command(bus, tenant, 'CreateTask', { title: 'meanwhile' })
    nats = await startNats({ folder, durable: false })
    await until(() => positionsOf(events, tenant).includes(2))
    expect(madeAnew).toBeGreaterThanOrEqual(2)
  })
})

describe.for(ISOLATIONS)('MQ-03: a relay that is killed loses nothing, isolation %s', (isolation) => {
  test.for(['publish', 'mark'] as const)('MQ-03: SIGKILL just before it would %s', async (point) => {
    const place = ownStream()
    const tenant = await database.tenant('acme', isolation)
    const events = gather(jetstreamOn(place))
    const bus = busOn(session)
    await Promise.all(times(600).map((index) => command(bus, tenant, 'CreateTask', { title: `${index}` })))
    for (let round = 0; round < 3; round += 1) await killAt(point, place, tenant)
    relayOn(jetstreamOn(place), place.prefix, [tenant], 20)
    relayOn(jetstreamOn(place), place.prefix, [tenant], 30)
    await until(() => new Set(positionsOf(events, tenant)).size === 600)
    await until(async () => (await relayed(tenant)) === 600)
    // Nothing came before what precedes it, and what came twice was dropped by NATS or came again in order.
    const firsts = [...new Set(positionsOf(events, tenant))]
    expect(firsts).toEqual(times(600).map((index) => index + 1))
  })
})

async function relayed(tenant: TenantContext): Promise<number> {
  const [row] = await database.asTenant(tenant, 'SELECT position::int FROM tenantry.relayed')
  return Number(row?.position)
}

/** Starts a real process that relays until it reaches `point`, and there kills itself with SIGKILL. */
async function killAt(point: 'publish' | 'mark', place: Place, tenant: TenantContext): Promise<void> {
  const settings = {
    point,
    ...place,
    url: inject('nats').url,
    endpoint: database.endpoint,
    credentials: database.credentials,
    login: database.login(tenant.route.role),
    shard: database.shard,
    tenant,
  }
  const program = new URL('../faults/relay-to-kill.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [program, JSON.stringify(settings)], { stdio: ['ignore', 'inherit', 'inherit'] })
  expect(await signalOf(child)).toBe('SIGKILL')
}

function signalOf(child: ChildProcess): Promise<NodeJS.Signals | null> {
  return new Promise((resolve, reject) => child.on('error', reject).on('exit', (_, signal) => resolve(signal)))
}

/** Takes the head's lock and the next number as a command does, and leaves the transaction open. */
async function holdOpen(tenant: TenantContext): Promise<{ commit: () => Promise<void> }> {
  const { endpoint } = database
  const credentials = database.login(tenant.route.role) ?? database.credentials
  const client = new Client({
    host: endpoint.host,
    port: endpoint.port,
    database: tenant.route.database,
    user: credentials.username,
    password: credentials.password,
  })
  await client.connect()
  await client.query('BEGIN')
  await client.query("SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('app.tenant_id', $3, true)", [
    tenant.route.role,
    tenant.route.schema,
    tenant.uid,
  ])
  await client.query('SELECT position FROM tenantry.head WHERE tenant = $1 FOR UPDATE', [tenant.uid])
  await client.query(
    `INSERT INTO events SELECT $1, position + 1, gen_random_uuid(), 'task.slow', gen_random_uuid(), 1, '{}', now() FROM tenantry.head WHERE tenant = $1`,
    [tenant.uid],
  )
  await client.query('UPDATE tenantry.head SET position = position + 1 WHERE tenant = $1', [tenant.uid])
  return {
    commit: async () => {
      await client.query('COMMIT')
      await client.end()
    },
  }
}
