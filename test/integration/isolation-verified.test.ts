import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { TenantStatus } from '../../crds/tenant.ts'
import { shardNames, tenantName } from '../../operator/postgres/names.ts'
import { neighboursOf } from '../../operator/postgres/neighbours.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const database = `test_${randomBytes(4).toString('hex')}`
const rows = `${database}_rows`
let namespace: string
let operator: RunningOperator
/** The admin login, whose grants the operator can take back, and a superuser, whose it cannot. */
let admin: pg.Client
let root: pg.Client
const names = new Map<string, string>()

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database))])
  operator = await startOperator(namespace, { TENANTRY_RESYNC_SECONDS: '2' })
  for (const isolation of ISOLATIONS) {
    await applyAll(namespace, [tenantManifest(`w-${isolation}`, { shardRef: { name: 'shard-a' }, isolation })])
    await kubectl(['wait', '-n', namespace, '--for=condition=Ready', `tenant/w-${isolation}`, '--timeout=40s'])
    const { metadata } = JSON.parse(await kubectl(['get', 'tenant', `w-${isolation}`, '-n', namespace, '-o', 'json']))
    names.set(isolation, `t_${metadata.uid.replaceAll('-', '')}`)
  }
  root = await connect(inject('postgres').superuserUrl)
  admin = await connect(inject('postgres').adminUrl)
})

afterAll(async () => {
  await root?.end()
  await admin?.end()
  await operator?.stop()
})

async function connect(server: string): Promise<pg.Client> {
  const url = new URL(server)
  url.pathname = `/${database}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  return client
}

async function conditionOf(isolation: string, type: string) {
  const { status }: { status?: TenantStatus } = JSON.parse(
    await kubectl(['get', 'tenant', `w-${isolation}`, '-n', namespace, '-o', 'json']),
  )
  return status?.conditions?.find((condition) => condition.type === type)
}

/** What was told of repairs: on the Tenant, or on the Shard, whose pass may be the first to see a shared table. */
async function repairsOf(isolation: string): Promise<string[]> {
  const { items } = JSON.parse(await kubectl(['get', 'events', '-n', namespace, '-o', 'json']))
  const told = [`IsolationRepaired w-${isolation}`, ...(isolation === 'row' ? ['RowSecurityRestored shard-a'] : [])]
  return items
    .filter((one: { reason: string; involvedObject: { name: string } }) => told.includes(`${one.reason} ${one.involvedObject.name}`))
    .map((one: { message: string }) => one.message)
}

const SHARED_HOLES = `SELECT FROM pg_class c WHERE c.relnamespace = 'tenantry_rows'::regnamespace AND c.relname = 'tasks'
  AND (NOT c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'open'))`

test.each(ISOLATIONS)('%s: the condition is true because every attempt to break in was refused', async (isolation) => {
  const condition = await conditionOf(isolation, 'IsolationVerified')
  expect(condition).toMatchObject({ status: 'True', reason: 'BreakInRefused' })
  printFigure(`IsolationVerified (${isolation}): ${/All (\d+) attempts/.exec(condition?.message ?? '')?.[1]} attempts refused`)
})

const repaired: [string, string, (name: string) => string, RegExp][] = [
  ['a right of PUBLIC on a table', 'schema', (name) => `GRANT SELECT ON ${name}.tasks TO PUBLIC`, /PUBLIC has rights on tasks/],
  ['a right of another role on the schema', 'schema', (name) => `GRANT USAGE ON SCHEMA ${name} TO ${rows}`, /has rights on schema/],
  [
    'a right of PUBLIC on what will be made',
    'schema',
    (name) => `ALTER DEFAULT PRIVILEGES IN SCHEMA ${name} GRANT SELECT ON TABLES TO PUBLIC`,
    /PUBLIC has rights on what will be made/,
  ],
  ['another member of the role', 'schema', (name) => `GRANT ${name} TO ${rows}`, /may act as/],
  ['an attribute of the role', 'schema', (name) => `ALTER ROLE ${name} CREATEROLE`, /attribute/],
  [
    'a policy that lets everybody read',
    'row',
    () => 'CREATE POLICY open ON tenantry_rows.tasks FOR SELECT USING (true)',
    /read row|list rows|put back/,
  ],
  [
    'row-level security that is off',
    'row',
    () => 'ALTER TABLE tenantry_rows.tasks DISABLE ROW LEVEL SECURITY',
    /read row|list rows|put back/,
  ],
]

test.each(repaired)('OP-16: %s is found and taken away, with an Event', async (_, isolation, plant, told) => {
  const since = performance.now()
  await admin.query(plant(names.get(isolation) ?? ''))
  await vi.waitFor(async () => expect((await root.query(SHARED_HOLES)).rows).toEqual([]), PATIENCE)
  await vi.waitFor(async () => expect((await repairsOf(isolation)).some((message) => told.test(message))).toBe(true), PATIENCE)
  printFigure(`OP-16: ${_} repaired after ${((performance.now() - since) / 1000).toFixed(1)} s (resync 2 s)`)
  await vi.waitFor(async () => expect(await conditionOf(isolation, 'IsolationVerified')).toMatchObject({ status: 'True' }), PATIENCE)
})

const lost: [string, (schema: string, row: string) => string][] = [
  ['emptied', (schema, row) => `DELETE FROM ${schema}.tasks; DELETE FROM tenantry_rows.tasks WHERE tenant_id = '${row}'`],
  ['without a table', (schema) => `DROP TABLE ${schema}.tasks CASCADE`],
]

test.each(lost)('neighbours that were %s are made anew', async (_, take) => {
  const neighbours = neighboursOf(shardNames(database))
  const schema = tenantName(neighbours.schema)
  await root.query(take(schema, neighbours.row))
  const find = `SELECT (SELECT count(*)::int FROM ${schema}.tasks) AS schema,
                       (SELECT count(*)::int FROM tenantry_rows.tasks WHERE tenant_id = '${neighbours.row}') AS row`
  await vi.waitFor(async () => expect((await root.query(find)).rows).toEqual([{ schema: 1, row: 1 }]), PATIENCE)
  const isVerified = (isolation: string) => async () =>
    expect(await conditionOf(isolation, 'IsolationVerified')).toMatchObject({ status: 'True' })
  for (const isolation of ISOLATIONS) await vi.waitFor(isVerified(isolation), PATIENCE)
})

const reported: [string, string, (name: string) => [string, string], string][] = [
  ['BYPASSRLS of the role', 'schema', (name) => [`ALTER ROLE ${name} BYPASSRLS`, `ALTER ROLE ${name} NOBYPASSRLS`], 'RoleTooPowerful'],
  [
    'PG-04: a view that reads as its owner',
    'schema',
    (name) => [`CREATE VIEW ${name}.all_tasks AS SELECT * FROM ${name}.tasks`, `DROP VIEW ${name}.all_tasks`],
    'UnsafeObject',
  ],
  [
    'PG-04: a materialized view',
    'schema',
    (name) => [`CREATE MATERIALIZED VIEW ${name}.m AS SELECT 1`, `DROP MATERIALIZED VIEW ${name}.m`],
    'UnsafeObject',
  ],
  [
    'PG-04: a SECURITY DEFINER function',
    'row',
    () => [`CREATE FUNCTION tenantry_rows.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'`, 'DROP FUNCTION tenantry_rows.f()'],
    'UnsafeObject',
  ],
  [
    'a way into the database of the Shard',
    'database',
    (name) => [`GRANT CONNECT ON DATABASE ${database} TO ${name}`, `REVOKE CONNECT ON DATABASE ${database} FROM ${name}`],
    'NeighbourReached',
  ],
]

test.each(reported)('%s takes Ready away until somebody has mended it', async (_, isolation, plant, reason) => {
  const [open, close] = plant(names.get(isolation) ?? '')
  await root.query(open)
  await vi.waitFor(async () => expect(await conditionOf(isolation, 'Ready')).toMatchObject({ status: 'False', reason }), PATIENCE)
  expect(await conditionOf(isolation, 'IsolationVerified')).toMatchObject({ status: 'False', reason })
  await root.query(close)
  await vi.waitFor(async () => expect(await conditionOf(isolation, 'Ready')).toMatchObject({ status: 'True' }), PATIENCE)
})

test('PG-04: a view with security_invoker is left alone', async () => {
  const name = names.get('schema') ?? ''
  await root.query(`CREATE VIEW ${name}.mine WITH (security_invoker = true) AS SELECT * FROM ${name}.tasks`)
  const passes = async () => {
    const text = await (await fetch(`${operator.url}/metrics`)).text()
    return Number(/tenantry_reconcile_duration_seconds_count\{kind="tenant",result="done"\} (\d+)/.exec(text)?.[1] ?? 0)
  }
  const before = await passes()
  await vi.waitFor(async () => expect(await passes()).toBeGreaterThan(before + 6), PATIENCE)
  expect(await conditionOf('schema', 'Ready')).toMatchObject({ status: 'True' })
  expect(await (await fetch(`${operator.url}/metrics`)).text()).toMatch(
    /tenantry_isolation_breaches_total\{isolation="schema",reason="ForeignAccess"\} \d/,
  )
})
