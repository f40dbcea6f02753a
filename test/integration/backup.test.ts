import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type NatsServer, startNats } from '../../config/local/servers/nats.ts'
import { type PostgresServer, removePostgres, startPostgres } from '../../config/local/servers/postgres.ts'
import { SCOPES } from '../../config/routing.ts'
import type { StoredEvent } from '../../runtime/projections/projection.ts'
import { type Archive, archiving, asSuperuser, openArchive, recovery, restoreBase, saveBase } from '../builders/backup.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { read } from '../builders/http.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, secret, shardManifest } from '../builders/shard.ts'
import { eventsIn } from '../builders/stream.ts'
import { keyOf, tenantManifest } from '../builders/tenant.ts'
import { type RunningRuntime, startClusterRuntime } from '../builders/world.ts'

const PATIENCE = { timeout: 30_000, interval: 100 }
/** One that is asked after the restore, and one that nobody asks: it must come right by itself. */
const TENANTS = ISOLATIONS.flatMap((isolation) => ['busy', 'idle'].map((name) => ({ name: `${name}-${isolation}`, isolation })))
const BUSY = TENANTS.filter(({ name }) => name.startsWith('busy'))
const times = (count: number) => Array.from({ length: count }, (_, index) => index)

let folder: string
let postgres: PostgresServer
let nats: NatsServer
let archive: Archive
let data: string
let namespace: string
let operator: RunningOperator
let runtimes: RunningRuntime[] = []
const keys = new Map<string, string>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-backup-'))
  nats = await startNats({ folder: join(folder, 'nats'), durable: false })
  await startShard()
  data = String((await asSuperuser(postgres, 'SHOW data_directory')).data_directory)
  archive = await openArchive(join(data, '..', 'archive'))
  await asSuperuser(postgres, ...archiving(archive.wal))
  await postgres.stop()
  await startShard()
  await installCrds()
  namespace = await createNamespace()
  const { host, port, ca, adminUser, adminPassword } = postgres
  const endpoint = { host, port, database: 'tenantry' }
  await applyAll(namespace, [
    secret('admin', { username: adminUser, password: adminPassword }),
    secret('ca', { 'ca.crt': ca }),
    shardManifest('shard-a', { endpoint, adminSecretRef: { name: 'admin' }, tls: { caSecretRef: { name: 'ca', key: 'ca.crt' } } }),
    ...TENANTS.map(({ name, isolation }) =>
      tenantManifest(name, { plan: 'premium', isolation, apiKeys: [{ name: 'main', scopes: SCOPES }] }),
    ),
  ])
  operator = await startOperator(namespace)
  await ready('tenant', '--all')
  runtimes = await Promise.all([startRuntime(), startRuntime()])
  for (const { name } of TENANTS) keys.set(name, await keyOf(namespace, name))
})

afterAll(async () => {
  for (const runtime of runtimes) await runtime.stop()
  await operator?.stop()
  await nats?.stop()
  await postgres?.stop()
  await removePostgres(join(folder, 'shard'))
  await rm(folder, { recursive: true, force: true })
})

async function startShard(): Promise<void> {
  postgres = await startPostgres({ folder: join(folder, 'shard') })
}

const startRuntime = () =>
  startClusterRuntime(namespace, { TENANTRY_NATS_URL: nats.url, TENANTRY_REDIS_URL: inject('redis').url, TENANTRY_ACCESS_LOG: 'off' })
const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const ready = (...what: string[]) => kubectl(['wait', '-n', namespace, '--for=condition=Ready', '--timeout=90s', ...what])

function send(
  tenant: string,
  path: string,
  { method = 'GET', json, replica = 0 }: { method?: string; json?: object; replica?: number } = {},
) {
  const headers = { 'x-api-key': keys.get(tenant) ?? '', 'content-type': 'application/json' }
  return fetch(`${runtimes[replica]?.url}${path}`, { method, headers, ...(json === undefined ? {} : { body: JSON.stringify(json) }) })
}

async function make(tenant: string, title: string): Promise<string> {
  const answer = await send(tenant, '/v1/tasks', { method: 'POST', json: { title } })
  expect(answer.status).toBe(201)
  return (await read(answer)).id
}

const makeMany = (tenant: string, count: number, title: string) => Promise.all(times(count).map(() => make(tenant, title)))

/** Every title that the tenant's tasks have, by id. */
async function tasksOf(tenant: string, replica = 0): Promise<Record<string, string>> {
  const answer = await send(tenant, '/v1/tasks?limit=100', { replica })
  expect(answer.status).toBe(200)
  return Object.fromEntries((await read(answer)).items.map(({ id, title }: { id: string; title: string }) => [id, title]))
}

async function totalOf(tenant: string): Promise<number> {
  return (await read(await send(tenant, '/v1/tasks/statistics'))).total
}

/** The tenant's history as the database has it, and as the stream has it, each event at its last place. */
async function histories(tenant: string): Promise<{ database: string[]; stream: string[] }> {
  const uid = (await get('tenant', tenant)).metadata.uid
  const lines = (await (await send(tenant, '/v1/admin/export')).text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const idsOf = (events: readonly Pick<StoredEvent, 'id' | 'position'>[]) => events.map(({ position, id }) => `${position} ${id}`)
  const database = idsOf(lines.flatMap((line) => (line.kind === 'events' ? line.data : [])))
  return {
    database,
    stream: [...new Set(idsOf((await eventsIn(nats.url, 'TENANTRY', `tenantry.${uid}.>`)).toSorted((a, b) => a.position - b.position)))],
  }
}

/** What has been acknowledged, and is to be there in the end: the ids of tasks, by tenant. */
const acknowledged = new Map<string, string[]>()

async function makeForAll(tenants: readonly { name: string }[], count: number, title: string): Promise<void> {
  for (const { name } of tenants) acknowledged.set(name, [...(acknowledged.get(name) ?? []), ...(await makeMany(name, count, title))])
}

const firstOf = (tenant: string) => acknowledged.get(tenant)?.[0] ?? ''
const titleOfFirst = async (tenant: string, replica: number) =>
  (await read(await send(tenant, `/v1/tasks/${firstOf(tenant)}`, { replica }))).title

/** Waits until the read model of each tenant counts as many tasks. */
async function counted(more = 0): Promise<void> {
  for (const { name } of TENANTS)
    await vi.waitFor(async () => expect(await totalOf(name)).toBe((acknowledged.get(name)?.length ?? 0) + more), PATIENCE)
}

/** What should never have been done: known to both replicas, Redis, NATS and all read models before the server is lost. */
async function makeMistake(): Promise<void> {
  for (const { name } of TENANTS) {
    expect((await send(name, `/v1/tasks/${firstOf(name)}`, { method: 'PATCH', json: { title: 'a mistake' } })).status).toBe(200)
    await makeMany(name, 7, 'a mistake')
  }
  await counted(7)
  await applyAll(namespace, [tenantManifest('late', {})])
  await ready('tenant/late')
  const { file } = await asSuperuser(postgres, 'SELECT pg_walfile_name(pg_current_wal_lsn()) AS file')
  await asSuperuser(postgres, 'SELECT pg_switch_wal()')
  await vi.waitFor(async () => {
    const { last } = await asSuperuser(postgres, 'SELECT last_archived_wal AS last FROM pg_stat_archiver')
    expect(String(last) >= String(file)).toBe(true)
  }, PATIENCE)
  for (const { name } of TENANTS) for (const replica of [0, 1]) expect(await titleOfFirst(name, replica)).toBe('a mistake')
}

/** On both replicas all that was acknowledged by then, and nothing of the mistake. */
async function expectRight({ name }: { name: string }): Promise<void> {
  for (const replica of [0, 1]) {
    expect(await titleOfFirst(name, replica)).toBe('before the backup')
    const tasks = await tasksOf(name, replica)
    expect(Object.keys(tasks).toSorted()).toEqual(acknowledged.get(name)?.toSorted())
    expect(Object.values(tasks)).not.toContain('a mistake')
  }
}

async function conditionOf(tenant: string, wanted: string): Promise<object> {
  return (await get('tenant', tenant)).status.conditions.find(({ type }: { type: string }) => type === wanted)
}

let lost: number
let up: number

test('a Shard is saved while it serves, and lost with all its data', { timeout: 120_000 }, async () => {
  await makeForAll(TENANTS, 10, 'before the backup')
  await saveBase(postgres, data, archive)
  await makeForAll(TENANTS, 10, 'before the mistake')
  await counted()
  const { time } = await asSuperuser(postgres, 'SELECT clock_timestamp()::text AS time')
  await makeMistake()
  await postgres.kill('SIGKILL')
  // Sessions of a server that was killed write until they notice.
  await rm(data, { recursive: true, maxRetries: 20 })
  lost = performance.now()
  await restoreBase(data, archive, String(time))
  await startShard()
  up = performance.now()
})

test('restored to a point in time, its tenants are served again with all that was acknowledged by then, and nothing from after it', async () => {
  await vi.waitFor(() => makeForAll(BUSY.slice(0, 1), 1, 'after the restore'), PATIENCE)
  const served = performance.now()
  await makeForAll(BUSY.slice(1), 1, 'after the restore')
  // Redis would keep what it was given for a minute.
  await vi.waitFor(() => Promise.all(TENANTS.map(expectRight)), { timeout: 5_000, interval: 50 })
  printFigure(
    `backup: ${TENANTS.length} tenants of three isolations: server up ${seconds(up - lost)} after the loss, served ${seconds(served - up)} later, nothing of the time after ${seconds(performance.now() - up)} later; 0 acknowledged lost`,
  )
})

test('read models and the stream are those of the database, also where nobody asks, and go on from there', async () => {
  await counted()
  await makeForAll(BUSY, 12, 'after the restore')
  await counted()
  for (const { name } of TENANTS)
    await vi.waitFor(async () => {
      const { database, stream } = await histories(name)
      expect(database.length).toBeGreaterThanOrEqual(20)
      expect(stream).toEqual(database)
    }, PATIENCE)
})

test('the walls stand and were tried since, and who came after that time is told so and can come again', async () => {
  await kubectl(['label', '-n', namespace, 'tenant', '--all', 'looked=at'])
  await ready('tenant', ...TENANTS.map(({ name }) => name))
  for (const { name } of TENANTS)
    expect(await conditionOf(name, 'IsolationVerified')).toMatchObject({ status: 'True', reason: 'BreakInRefused' })
  await vi.waitFor(
    async () => expect(await conditionOf('late', 'Ready')).toMatchObject({ status: 'False', reason: 'DataMissing' }),
    PATIENCE,
  )
  await kubectl(['delete', '-n', namespace, 'tenant', 'late', '--timeout=60s'])
  await applyAll(namespace, [tenantManifest('late', {})])
  await ready('tenant/late')
})

test('docs/backup.md says to do what was done here', () => {
  const page = readFileSync('docs/backup.md', 'utf8')
  const [time = ''] = /\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00/.exec(page) ?? []
  for (const line of [...archiving('/backup/wal'), ...recovery('/backup/wal', time).trim().split('\n')]) expect(page).toContain(line)
})

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1_000).toFixed(1)} s`
}
