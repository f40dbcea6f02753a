import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { loginSettings } from '../../operator/postgres/login.ts'
import { limitsOf, routeLimits } from '../../operator/tenant/limits.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { publishedRoute } from '../builders/published.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let operator: RunningOperator
let admin: pg.Client

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { warmSchemas: 0 }))])
  operator = await startOperator(namespace, { TENANTRY_RESYNC_SECONDS: '2' })
  admin = new pg.Client({ connectionString: inject('postgres').adminUrl })
  await admin.connect()
  await apply({})
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'tenant', '--all', '--timeout=60s'])
})

afterAll(async () => {
  await admin?.end()
  await operator?.stop()
})

/** One Tenant of each isolation, called after it. */
const apply = (spec: object) =>
  applyAll(
    namespace,
    ISOLATIONS.map((isolation) => tenantManifest(isolation, { isolation, ...spec })),
  )
const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))

const routeOf = async (name: string) => publishedRoute(namespace, (await get('tenant', name)).metadata.uid)

/** What stands for the login of the tenant with a database: its connections, and its settings for all databases and for one. */
async function login() {
  const { role, database: own } = (await get('tenant', 'database')).status
  const { rows } = await admin.query(
    `SELECT r.rolname AS role, r.rolconnlimit AS connections, ARRAY(SELECT unnest(r.rolconfig) ORDER BY 1) AS settings,
            ARRAY(SELECT unnest(s.setconfig) FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase <> 0) AS apart
       FROM pg_roles r WHERE r.rolname = $1`,
    [role],
  )
  return { own, ...rows[0] }
}

type Spec = Parameters<typeof limitsOf>[0]

const expected = (spec: Spec) => ({
  connections: limitsOf(spec).connections,
  settings: loginSettings(limitsOf(spec))
    .map(([setting, value]) => `${setting}=${value === '' ? '""' : value}`)
    .sort(),
  apart: [],
})

const holds = (spec: Spec) =>
  vi.waitFor(async () => {
    expect(await login()).toMatchObject(expected(spec))
    for (const isolation of ISOLATIONS) expect((await routeOf(isolation))?.limits).toEqual(routeLimits(spec))
  }, PATIENCE)

test('PG-14: a Tenant has the limits of its plan, another plan is in force with the next pass, and its spec says otherwise where it does', async () => {
  await holds({ plan: 'free' })
  await apply({ plan: 'premium' })
  await holds({ plan: 'premium' })
  await apply({ plan: 'basic', limits: { connections: 7 } })
  await holds({ plan: 'basic', limits: { connections: 7 } })
  await apply({ plan: 'basic' })
  await holds({ plan: 'basic' })
})

test('OP-16, PG-14: limits that were changed by hand are put back; a pass that finds them right does nothing', async () => {
  await apply({ plan: 'free' })
  await holds({ plan: 'free' })
  const { role, own } = await login()
  for (const change of [
    'CONNECTION LIMIT -1',
    'SET statement_timeout = 0',
    'RESET lock_timeout',
    `IN DATABASE "${own}" SET idle_in_transaction_session_timeout = 0`,
    'RESET ALL',
  ]) {
    await admin.query(`ALTER ROLE "${role}" ${change}`)
    await holds({ plan: 'free' })
  }
  await vi.waitFor(async () => expect(JSON.stringify(await get('events'))).toContain('LimitsSet'), PATIENCE)

  await admin.query(`ALTER ROLE "${role}" SET work_mem = '8MB'`)
  const begun = await written(role)
  const start = await passes()
  await vi.waitFor(async () => expect(await passes()).toBeGreaterThan(start + 6), PATIENCE)
  expect(await written(role)).toEqual(begun)
})

test('name, plan and settings travel in the route; settings that are too long are left out and told of, and the tenant is served on', async () => {
  await apply({ plan: 'basic', displayName: 'Acme', settings: { theme: { dark: true } } })
  const about = async () => {
    const { displayName, plan, settings } = (await routeOf('schema')) ?? {}
    return { displayName, plan, settings }
  }
  await vi.waitFor(
    async () => expect(await about()).toEqual({ displayName: 'Acme', plan: 'basic', settings: { theme: { dark: true } } }),
    PATIENCE,
  )
  await apply({ plan: 'free', displayName: 'Acme', settings: { long: 'x'.repeat(5_000) } })
  await vi.waitFor(async () => expect(await about()).toEqual({ displayName: 'Acme', plan: 'free', settings: undefined }), PATIENCE)
  await vi.waitFor(async () => expect(JSON.stringify(await get('events'))).toContain('SettingsTooLong'), PATIENCE)
})

/** The transaction that last set something for the role. */
const written = async (role: string) =>
  (await admin.query('SELECT xmin::text FROM pg_db_role_setting WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = $1)', [role]))
    .rows

async function passes(): Promise<number> {
  const text = await (await fetch(`${operator.url}/metrics`)).text()
  return Number(/tenantry_reconcile_duration_seconds_count\{kind="tenant",result="done"\} (\d+)/.exec(text)?.[1] ?? 0)
}
