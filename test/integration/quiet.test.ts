import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, EVENTS, SECRETS, SHARDS, TENANTS } from '../../operator/kubernetes/object.ts'
import { createNamespace } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'
import { type ApiProxy, startApiProxy } from '../faults/api-proxy.ts'

const PATIENCE = { timeout: 80_000, interval: 200 }
const PASSES = 1_000
const COUNTS = { row: 20, schema: 20, database: 4 }
const TENANTS_WANTED = Object.values(COUNTS).reduce((sum, count) => sum + count)
const WARM = 2
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let client: Client
let proxy: ApiProxy
let operator: RunningOperator

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  proxy = await startApiProxy(inject('kubernetes').kubeconfig)
  const tenants = ISOLATIONS.flatMap((isolation) =>
    Array.from({ length: COUNTS[isolation] }, (_, index) => tenantManifest(`${isolation}-${index}`, { isolation })),
  )
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { warmSchemas: WARM })), ...tenants])
  operator = await start()
  await vi.waitFor(settled, PATIENCE)
  await operator.stop()
  operator = await start({ TENANTRY_RESYNC_SECONDS: '1' })
  await vi.waitFor(async () => expect(await passes('tenant')).toBeGreaterThanOrEqual(TENANTS_WANTED), PATIENCE)
})

afterAll(async () => {
  await operator?.stop()
  await proxy?.[Symbol.asyncDispose]()
  await client?.close()
})

const start = (settings: Record<string, string> = {}) => startOperator(namespace, { KUBECONFIG: proxy.kubeconfig, ...settings })

/** Everything is made, counted and told. */
async function settled(): Promise<void> {
  const shard = await client.get(SHARDS, namespace, 'shard-a')
  expect(shard?.status?.tenants).toBe(TENANTS_WANTED)
  const told = (await client.list(EVENTS, namespace)).items.filter(({ reason }) => reason === 'TenantReady')
  expect(told).toHaveLength(TENANTS_WANTED)
  await using superuser = await login(database)
  expect((await superuser.client.query('SELECT FROM tenantry.spares')).rowCount).toBe(WARM)
}

async function login(name: string) {
  const client = await connectAsSuperuser(inject('postgres'), name)
  return { client, [Symbol.asyncDispose]: () => client.end() }
}

/** Every object that the operator writes, with its version. */
async function versions(): Promise<string[]> {
  const lists = await Promise.all([SHARDS, TENANTS, SECRETS, CONFIG_MAPS, EVENTS].map((kind) => client.list(kind, namespace)))
  return lists.flatMap(({ items }) => items.map(({ kind, metadata }) => `${kind}/${metadata.name}@${metadata.resourceVersion}`))
}

/**
 * Where each row of each table stands and which transaction wrote it, the catalog's tables included: whatever is written, with an equal
 * value or not, changes it. Statistics are the server's own; of what all databases share, the rows of this Shard.
 */
async function rowsOf(name: string): Promise<Record<string, string>> {
  await using superuser = await login(name)
  const { rows: tables } = await superuser.client.query<{ table: string; shared: boolean }>(
    `SELECT oid::regclass::text AS table, relisshared AS shared FROM pg_class
      WHERE relkind = 'r' AND relpersistence = 'p' AND relname NOT LIKE 'pg_statistic%'`,
  )
  const found: Record<string, string> = {}
  for (const { table } of tables.filter(({ shared }) => !shared)) {
    const text = `SELECT count(*) || ' ' || coalesce(md5(string_agg(ctid::text || xmin::text, ' ' ORDER BY ctid)), '') AS rows FROM ${table}`
    found[`${name} ${table}`] = (await superuser.client.query<{ rows: string }>(text)).rows[0]?.rows ?? ''
  }
  return found
}

const OURS = `(rolname LIKE '${database}%' OR rolname IN (SELECT role_name FROM tenantry.tenants))`
const SHARED = `SELECT 'role ' || rolname || ' ' || a.ctid || ' ' || a.xmin AS line FROM pg_authid a WHERE ${OURS}
  UNION ALL SELECT 'member ' || rolname || ' ' || m.ctid || ' ' || m.xmin FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE ${OURS}
  UNION ALL SELECT 'settings ' || rolname || ' ' || s.ctid || ' ' || s.xmin FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE ${OURS}
  UNION ALL SELECT 'database ' || datname || ' ' || d.ctid || ' ' || d.xmin FROM pg_database d
    WHERE datname LIKE '${database}%' OR datname IN (SELECT database_name FROM tenantry.tenants) ORDER BY line`

async function written(): Promise<unknown> {
  await using superuser = await login(database)
  const shared = (await superuser.client.query<{ line: string }>(SHARED)).rows.map(({ line }) => line)
  const own = await superuser.client.query<{ name: string }>(
    'SELECT DISTINCT database_name AS name FROM tenantry.tenants WHERE database_name IS NOT NULL',
  )
  const databases = new Set([database, `${database}_template`, ...own.rows.map(({ name }) => name)])
  return { shared, rows: Object.assign({}, ...(await Promise.all([...databases].map(rowsOf)))) }
}

async function passes(kind: string): Promise<number> {
  const text = await (await fetch(`${operator.url}/metrics`)).text()
  return Number(new RegExp(`tenantry_reconcile_duration_seconds_count\\{kind="${kind}",result="done"\\} (\\d+)`).exec(text)?.[1] ?? 0)
}

test('OP-20: a thousand passes that find nothing to do write nothing anywhere', async () => {
  const before = { versions: await versions(), written: await written(), calls: proxy.calls.length }
  const [tenants, shards] = [await passes('tenant'), await passes('shard')]
  const since = performance.now()
  await vi.waitFor(async () => expect(await passes('tenant')).toBeGreaterThanOrEqual(tenants + PASSES), PATIENCE)
  const seconds = (performance.now() - since) / 1_000
  const looks = (await passes('shard')) - shards
  const writes = proxy.calls.slice(before.calls).filter(({ method, path }) => method !== 'GET' && !path.includes('/leases'))
  expect(writes.map(({ method, path }) => `${method} ${path}`)).toEqual([])
  expect(await versions()).toEqual(before.versions)
  expect(await written()).toEqual(before.written)
  expect(looks).toBeGreaterThan(3)
  printFigure(
    `OP-20: ${PASSES} passes of ${TENANTS_WANTED} tenants in ${seconds.toFixed(1)} s, each with its attempt to break in, and ${looks} of their Shard: ${writes.length} API writes, 0 rows or catalog entries written`,
  )
})
