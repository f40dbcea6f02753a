import { randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { TenantStatus } from '../../crds/tenant.ts'
import { readMigrations } from '../../operator/postgres/migrations.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { publishedRoute } from '../builders/published.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let operator: RunningOperator

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  operator = await startOperator(namespace)
})

afterAll(() => operator?.stop())

const ready = (kind: string, name: string) =>
  kubectl(['wait', '-n', namespace, '--for=condition=Ready', `${kind}/${name}`, '--timeout=40s'])
const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const statusOf = async (name: string): Promise<TenantStatus> => (await get('tenant', name)).status ?? {}

async function connectTo(name: string): Promise<pg.Client> {
  const url = new URL(inject('postgres').adminUrl)
  url.pathname = `/${name}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  return client
}

const isRouted = async (uid: string) => (await publishedRoute(namespace, uid)) !== undefined

test('ready schemas are kept, taken by the next tenants, made anew, and none when they are switched off', async () => {
  const place = `${database}_w`
  const warm = (warmSchemas: number) => applyAll(namespace, [shardManifest('shard-w', shardSpec(place, { warmSchemas }))])
  await warm(2)
  await ready('shard', 'shard-w')
  const inside = await connectTo(place)
  const spares = async () =>
    (
      await inside.query(`SELECT s.name, r.oid, n.oid AS schema FROM tenantry.spares s
      JOIN pg_roles r ON r.rolname = s.name JOIN pg_namespace n ON n.nspname = s.name ORDER BY s.name`)
    ).rows
  await vi.waitFor(async () => expect(await spares()).toHaveLength(2), PATIENCE)
  expect(
    (await inside.query("SELECT FROM tenantry.head h JOIN tenantry.tenants t ON t.uid = h.tenant WHERE t.namespace <> ''")).rows,
  ).toEqual([])
  const before = await spares()
  const migrations = await readMigrations('config/migrations')
  const names = ['one', 'two', 'three']
  await applyAll(
    namespace,
    names.map((name) => tenantManifest(name, { shardRef: { name: 'shard-w' } })),
  )
  for (const name of names) await ready('tenant', name)
  const roles = await Promise.all(names.map(async (name) => (await statusOf(name)).role))
  const taken = await inside.query(
    `SELECT r.oid, n.oid AS schema, has_table_privilege(r.oid, format('%I.tasks', n.nspname), 'INSERT') AND pg_has_role($2, r.oid, 'SET')
            AND pg_has_role(r.oid, $3, 'USAGE') AS usable,
            (SELECT count(*)::int FROM tenantry.migrations m JOIN tenantry.tenants t ON t.uid = m.tenant WHERE t.role_name = r.rolname) AS version
       FROM pg_roles r JOIN pg_namespace n ON n.nspname = r.rolname WHERE r.rolname = ANY ($1)`,
    [roles, `${place}_runtime`, `${place}_tenants`],
  )
  expect(taken.rows.map(({ usable, version }) => [usable, version])).toEqual(names.map(() => [true, migrations.tenant.length]))
  const oids = new Set(taken.rows.map(({ oid }) => oid))
  expect(before.filter(({ oid }) => oids.has(oid))).toHaveLength(2)
  await vi.waitFor(async () => expect(await spares()).toHaveLength(2), PATIENCE)
  await inside.query('UPDATE tenantry.spares SET version = 1')
  const old = (await spares()).map(({ name }) => name)
  await kubectl(['label', 'shard', 'shard-w', '-n', namespace, 'touched=1'])
  await vi.waitFor(async () => {
    const now = (await spares()).map(({ name }) => name)
    expect([now.length, now.filter((name) => old.includes(name))]).toEqual([2, []])
  }, PATIENCE)
  await warm(0)
  await vi.waitFor(async () => expect(await spares()).toEqual([]), PATIENCE)
  expect((await inside.query(`SELECT FROM pg_namespace WHERE nspname LIKE 'spare%'`)).rows).toEqual([])
  await inside.end()
})

test.each(['row', 'schema', 'database'])('OP-19: names that are alike, or words of SQL, share nothing: isolation %s', async (isolation) => {
  const names = ['select', 'public', 'tenantry', 'a-b', 'ab', `${'x'.repeat(39)}a`, `${'x'.repeat(39)}b`]
  const manifests = names.map((name) => tenantManifest(name, { isolation, deletionPolicy: 'Delete', shardRef: { name: 'shard-a' } }))
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database)), ...manifests])
  for (const name of names) await ready('tenant', name)
  const found = await Promise.all(names.map(statusOf))
  expect(new Set(found.map(({ role }) => role)).size).toBe(isolation === 'row' ? 1 : names.length)
  const own = await connectTo(database)
  expect((await own.query("SELECT FROM tenantry.tenants WHERE namespace <> ''")).rows).toHaveLength(names.length)
  await own.end()
  await kubectl(['delete', 'tenant', '-n', namespace, ...names, '--timeout=60s'])
})

test('OP-19: what has a tenant’s names without the mark of ownership is never adopted, in no isolation', async () => {
  const place = `${database}_c`
  await applyAll(namespace, [shardManifest('shard-c', shardSpec(place, { schedulable: false }))])
  await ready('shard', 'shard-c')
  const inside = await connectTo(place)
  const squatters = [
    ['schema-role', 'schema', (name: string) => `CREATE ROLE ${name}`, (name: string) => `DROP ROLE ${name}`],
    ['schema-schema', 'schema', (name: string) => `CREATE SCHEMA ${name}`, (name: string) => `DROP SCHEMA ${name}`],
    ['database-role', 'database', (name: string) => `CREATE ROLE ${name}`, (name: string) => `DROP ROLE ${name}`],
    ['database-database', 'database', (name: string) => `CREATE DATABASE ${name}`, (name: string) => `DROP DATABASE ${name}`],
  ] as const
  const nameOf = async (tenant: string) => `t_${(await get('tenant', tenant)).metadata.uid.replaceAll('-', '')}`
  const manifests = squatters.map(([name, isolation]) => tenantManifest(name, { isolation, shardRef: { name: 'shard-c' } }))
  await applyAll(namespace, [...manifests, tenantManifest('rows-only', { isolation: 'row', shardRef: { name: 'shard-c' } })])
  for (const [name, , make] of squatters) await inside.query(make(await nameOf(name)))
  await inside.query(`CREATE SCHEMA ${await nameOf('rows-only')}`)
  await kubectl(['patch', 'shard', 'shard-c', '-n', namespace, '--type=merge', '-p', '{"spec":{"schedulable":true}}'])
  await ready('tenant', 'rows-only')
  for (const [name, , , remove] of squatters) {
    await vi.waitFor(async () => expect(await statusOf(name)).toMatchObject({ phase: 'Failed' }), PATIENCE)
    expect((await statusOf(name)).conditions).toContainEqual(
      expect.objectContaining({ type: 'Provisioned', status: 'False', reason: 'NameConflict' }),
    )
    await inside.query(remove(await nameOf(name)))
    // It would be looked at again within 30 s; a change is seen at once.
    await kubectl(['label', 'tenant', name, '-n', namespace, 'mended=yes'])
    await ready('tenant', name)
  }
  await inside.end()
})

test('OP-17, OP-19: a record of another installation is left alone, says whose it is, gets no route, and is neither kept nor removed', async () => {
  const theirs = randomUUID()
  const place = `${database}_d`
  const disputed = { disputed: 'Retain', contested: 'Delete' } as const
  const manifests = Object.entries(disputed).map(([name, deletionPolicy]) =>
    tenantManifest(name, { shardRef: { name: 'shard-d' }, deletionPolicy }),
  )
  await applyAll(namespace, manifests)
  await applyAll(namespace, [shardManifest('shard-d', shardSpec(place, { schedulable: false }))])
  await ready('shard', 'shard-d')
  const other = await connectTo(place)
  const uids = new Map<string, string>()
  for (const name of Object.keys(disputed)) {
    const { uid } = (await get('tenant', name)).metadata
    uids.set(name, uid)
    await other.query(
      `INSERT INTO tenantry.tenants (uid, installation, namespace, name, isolation, schema_name, role_name) VALUES ($1, $2, $3, $4, $5, $6, $6)`,
      [uid, theirs, namespace, name, 'schema', `t_${uid.replaceAll('-', '')}`],
    )
  }
  await kubectl(['patch', 'shard', 'shard-d', '-n', namespace, '--type=merge', '-p', '{"spec":{"schedulable":true}}'])
  for (const [name, uid] of uids) {
    await vi.waitFor(async () => expect(await statusOf(name)).toMatchObject({ phase: 'Failed' }), PATIENCE)
    expect((await statusOf(name)).conditions).toContainEqual(
      expect.objectContaining({ type: 'Ready', reason: 'NameConflict', message: expect.stringContaining(theirs) }),
    )
    expect(await isRouted(uid)).toBe(false)
  }
  const thief = { shardRef: { name: 'shard-d' }, adopt: uids.get('disputed') }
  await applyAll(namespace, [tenantManifest('thief', thief)])
  await vi.waitFor(
    async () => expect((await statusOf('thief')).conditions).toContainEqual(expect.objectContaining({ reason: 'AdoptRefused' })),
    PATIENCE,
  )
  const names = ['thief', ...uids.keys()]
  await kubectl(['delete', 'tenant', ...names, '-n', namespace, '--timeout=40s'])
  expect((await other.query("SELECT installation, retained_at FROM tenantry.tenants WHERE namespace <> ''")).rows).toEqual(
    [...uids].map(() => ({ installation: theirs, retained_at: null })),
  )
  // The end is told before the Tenant goes.
  const { items } = await get('events')
  const told = items.map((one: { reason: string; involvedObject: { name: string } }) => `${one.involvedObject.name} ${one.reason}`)
  expect(told).toContain('disputed NameConflict')
  expect(told.filter((line: string) => names.includes(line.split(' ')[0] ?? '') && line.includes('Data'))).toEqual([])
  await other.end()
})
