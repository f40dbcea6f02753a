import { randomBytes } from 'node:crypto'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, escapeIdentifier } from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { TenantStatus } from '../../crds/tenant.ts'
import { latest, readMigrations } from '../../operator/postgres/migrations.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectTo } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { keyOf, tenantManifest } from '../builders/tenant.ts'
import { startTraffic } from '../builders/traffic.ts'
import { type RunningRuntime, startClusterRuntime } from '../builders/world.ts'

const PATIENCE = { timeout: 60_000, interval: 250 }
/** For what asks for all Tenants: each look costs the API server as much as many passes do. */
const SELDOM = { timeout: 150_000, interval: 2_000 }
const SCHEMAS = 500
const OLD = latest((await readMigrations('config/migrations')).tenant)
const NEW = OLD + 1
const NEXT = String(NEW).padStart(4, '0')
/** The tenants that are served all the while; those of the shared tables and the last two cannot be migrated at first. */
const SERVED = { well: 'schema', rows: 'row', own: 'database', broken: 'schema', locked: 'schema' } as const
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let folder: string
let operator: RunningOperator
let runtime: RunningRuntime
let admin: Client

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-migrations-'))
  await cp('config/migrations', folder, { recursive: true })
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { warmSchemas: 0 }))])
  operator = await start()
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'shard/shard-a', '--timeout=40s'])
  admin = await connectTo(inject('postgres'), database)
  const served = Object.entries(SERVED).map(([name, isolation]) => tenantManifest(name, { isolation }))
  const others = Array.from({ length: SCHEMAS - served.length + 2 }, (_, index) => tenantManifest(`t-${index}`, { apiKeys: [] }))
  await applyAll(namespace, [...served, ...others])
  await vi.waitFor(async () => expect(await behind(OLD)).toEqual([]), SELDOM)
  runtime = await startClusterRuntime(namespace)
}, 180_000)

afterAll(async () => {
  await admin?.end()
  await runtime?.stop()
  await operator?.stop()
  await rm(folder, { recursive: true, force: true })
})

const start = () => startOperator(namespace, { TENANTRY_MIGRATIONS_FOLDER: folder })

/** The dead hold nothing: without its Lease the next need not wait until it runs out. */
async function killOperator(): Promise<void> {
  await operator.kill()
  await kubectl(['delete', 'lease', 'tenantry-operator', '-n', namespace])
}

/** The Tenants that are not Ready with that version. */
async function behind(version: number): Promise<string[]> {
  const columns = '{range .items[*]}{.metadata.name} {.status.schemaVersion} {.status.phase}{"\\n"}{end}'
  const lines = (await kubectl(['get', 'tenants', '-n', namespace, '-o', `jsonpath=${columns}`])).trim().split('\n')
  return lines.filter((line) => !line.endsWith(` ${version} Ready`)).map((line) => line.split(' ')[0] ?? '')
}

async function statusOf(name: string): Promise<TenantStatus> {
  return JSON.parse(await kubectl(['get', 'tenant', name, '-n', namespace, '-o', 'json'])).status
}

async function migrated(): Promise<number> {
  const { rows } = await admin.query('SELECT count(*)::int AS count FROM tenantry.migrations WHERE version = $1', [NEW])
  return rows[0].count
}

async function tasksOf(name: string): Promise<string> {
  return `${escapeIdentifier((await statusOf(name)).schema ?? '')}.tasks`
}

test('PG-17: 500 schemas are migrated while they are served, whatever dies, breaks or is locked on the way', {
  timeout: 180_000,
}, async () => {
  const broken = await tasksOf('broken')
  await admin.query(`ALTER TABLE ${broken} ADD COLUMN labels integer`)
  const holder = await connectTo(inject('postgres'), database)
  await holder.query(
    `BEGIN; LOCK TABLE ${await tasksOf('locked')} IN ACCESS SHARE MODE; LOCK TABLE tenantry_rows.tasks IN ACCESS SHARE MODE`,
  )
  const traffic = await Promise.all(
    Object.keys(SERVED).map(async (name) => startTraffic(runtime.url, await keyOf(namespace, name), { callers: 1, pauseMs: 200 })),
  )

  await killOperator()
  await writeFile(join(folder, `${NEXT}_labels.sql`), "ALTER TABLE tasks ADD COLUMN labels text[] NOT NULL DEFAULT '{}';")
  const begun = performance.now()
  let kills = 0
  operator = await start()
  for (const share of [0.02, 0.1, 0.25]) {
    await vi.waitFor(async () => expect(await migrated()).toBeGreaterThan(share * SCHEMAS), { ...PATIENCE, interval: 20 })
    await killOperator()
    kills += 1
    operator = await start()
  }
  await vi.waitFor(async () => expect((await behind(NEW)).sort()).toEqual(['broken', 'locked', 'rows']), SELDOM)
  const seconds = (performance.now() - begun) / 1_000

  await vi.waitFor(async () => {
    const [stalled, waiting, rows] = [await statusOf('broken'), await statusOf('locked'), await statusOf('rows')]
    expect(stalled).toMatchObject({ phase: 'Failed', schemaVersion: OLD })
    for (const one of [waiting, rows]) expect(one).toMatchObject({ phase: 'Provisioning', schemaVersion: OLD })
    for (const type of ['SchemaCurrent', 'Stalled'])
      expect(stalled.conditions).toContainEqual(expect.objectContaining({ type, reason: 'MigrationFailed' }))
    for (const type of ['SchemaCurrent', 'Reconciling'])
      for (const { conditions } of [waiting, rows])
        expect(conditions).toContainEqual(expect.objectContaining({ type, reason: 'SchemaBehind' }))
  }, PATIENCE)

  await holder.query('COMMIT')
  await holder.end()
  await admin.query(`ALTER TABLE ${broken} DROP COLUMN labels`)
  await vi.waitFor(async () => {
    const { rows } = await admin.query('SELECT max(version) AS version FROM tenantry.row_migrations')
    expect(rows).toEqual([{ version: NEW }])
  }, PATIENCE)
  // A change has them looked at at once.
  await kubectl(['label', 'tenants', 'broken', 'locked', 'rows', '-n', namespace, 'mended=yes'])
  await vi.waitFor(async () => expect(await behind(NEW)).toEqual([]), SELDOM)
  await Promise.all(traffic.map(({ stop }) => stop()))
  expect(traffic.flatMap(({ seen }) => seen.failed)).toEqual([])
  for (const { seen } of traffic) expect(seen.answered).toBeGreaterThan(0)

  const { rows } = await admin.query(`SELECT a.attrelid::regclass::text AS tasks FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relname = 'tasks' AND a.attname = 'labels' AND a.atttypid = 'text[]'::regtype`)
  // Those of the tenants, of the shared tables, and of the neighbour that has a schema.
  expect(rows).toHaveLength(SCHEMAS + 2)
  const answered = traffic.reduce((sum, { seen }) => sum + seen.answered, 0)
  printFigure(
    `PG-17: ${SCHEMAS} schemas migrated in ${seconds.toFixed(1)} s with ${kills} kills, stuck 0; ${answered} requests meanwhile, failed 0`,
  )
})

test('PG-17: a migration that would not see the rows of the shared tables is refused before anything is done', async () => {
  const place = await mkdtemp(join(tmpdir(), 'tenantry-migrations-'))
  await cp('config/migrations', place, { recursive: true })
  await writeFile(join(place, `${NEXT}_backfill.sql`), "UPDATE tasks SET priority = 'low';")
  const refused = startOperator(await createNamespace(), { TENANTRY_MIGRATIONS_FOLDER: place }).then(async (started) => {
    await vi.waitFor(() => expect(started.process.exitCode).toBe(1), PATIENCE)
    throw new Error(started.lines.join('\n'))
  })
  await expect(refused).rejects.toThrow(/_backfill.sql.*UPDATE tasks.*changes or reads rows/)
  await rm(place, { recursive: true, force: true })
})
