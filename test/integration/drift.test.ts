import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { CREDENTIALS_SECRET, SHARDS_DOCUMENT } from '../../config/routing.ts'
import { shardNames, tenantName } from '../../operator/postgres/names.ts'
import { neighboursOf } from '../../operator/postgres/neighbours.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { published } from '../builders/published.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const REPAIRS = ['DriftRepaired', 'IsolationRepaired', 'RowSecurityRestored', 'LimitsSet']
const ADMIN_SECRET = 'postgres-admin'
const names = shardNames(`test_${randomBytes(4).toString('hex')}`)
const neighbours = neighboursOf(names)
const uids = new Map<string, string>()
let namespace: string
let operator: RunningOperator
let admin: pg.Client

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(names.database, { warmSchemas: 0 }))])
  operator = await startOperator(namespace, { TENANTRY_RESYNC_SECONDS: '2', TENANTRY_LOG_LEVEL: 'debug' })
  await applyAll(
    namespace,
    ISOLATIONS.map((isolation) => tenantManifest(isolation, { isolation })),
  )
  await allReady()
  for (const isolation of ISOLATIONS) uids.set(isolation, (await get('tenant', isolation)).metadata.uid)
  admin = await connect(names.database)
}, 90_000)

afterAll(async () => {
  await admin?.end()
  await operator?.stop()
})

async function connect(database: string): Promise<pg.Client> {
  const url = new URL(inject('postgres').adminUrl)
  url.pathname = `/${database}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  return client
}

const run = (...what: string[]) => kubectl([...what, '-n', namespace])
const get = async (...what: string[]) => JSON.parse(await run('get', '-o', 'json', ...what))
const allReady = () => run('wait', '--for=condition=Ready', 'shards,tenants', '--all', '--timeout=60s')
const roleOf = (isolation: string) => tenantName(uids.get(isolation) ?? '')
const reopen = (isolation: string) => `UPDATE tenantry.tenants SET retained_at = now() WHERE uid = '${uids.get(isolation)}'`
const forget = (secret: string, key: string) =>
  run('patch', 'secret', secret, '--type=merge', '-p', JSON.stringify({ data: { [key]: null } }))

async function inOwnDatabase(text: string): Promise<unknown> {
  const own = await connect(roleOf('database'))
  return own.query(text).finally(() => own.end())
}

/** What the operator has told of repairs, in its order: each time, also where an Event was only counted. */
function told(): string[] {
  const lines = operator.lines.filter((line) => line.includes('"told"')).map((line) => JSON.parse(line))
  return lines.filter(({ reason }) => REPAIRS.includes(reason)).map(({ object, reason, message }) => `${object} ${reason}: ${message}`)
}

/** What is changed by hand, and what is told of its repair. What all tenants of the shared tables have may be mended by any of their passes. */
const DRIFT: [string, () => Promise<unknown> | string, RegExp][] = [
  ['the right to act as a tenant', () => `REVOKE ${roleOf('schema')} FROM ${names.runtime}`, /Tenant\/schema Drift.*way to the data/],
  [
    'the right to act for the shared tables',
    () => `REVOKE ${names.rows} FROM ${names.runtime}`,
    /Tenant\/row Drift.*way to|Shard.*RowSecurity/,
  ],
  ['the right to log in', () => `ALTER ROLE ${roleOf('database')} NOLOGIN`, /Tenant\/database Drift.*way to the data/],
  ['a mark as kept: row', () => reopen('row'), /Tenant\/row Drift.*only kept/],
  ['a mark as kept: schema', () => reopen('schema'), /Tenant\/schema Drift.*only kept/],
  ['a mark as kept: database', () => reopen('database'), /Tenant\/database Drift.*only kept/],
  ['the limits of a login', () => `ALTER ROLE ${roleOf('database')} CONNECTION LIMIT -1`, /Tenant\/database LimitsSet/],
  ['a right of PUBLIC: schema', () => `GRANT SELECT ON ${roleOf('schema')}.tasks TO PUBLIC`, /Tenant\/schema Isolation.*tasks/],
  ['a right of PUBLIC: database', () => inOwnDatabase('GRANT SELECT ON tenant.tasks TO PUBLIC'), /Tenant\/database Isolation.*tasks/],
  ['a policy', () => 'CREATE POLICY open ON tenantry_rows.tasks USING (true)', /Tenant\/row Isolation|Shard.*RowSecurity/],
  ['the Secret of an API key', () => run('delete', 'secret', 'row-apikey-main'), /Tenant\/row Drift.*Secret row-apikey-main/],
  ['the token of an API key', () => forget('schema-apikey-main', 'token'), /Tenant\/schema Drift.*Secret schema-apikey-main/],
  ["the login of a tenant's database", () => forget(CREDENTIALS_SECRET, roleOf('database')), /Tenant\/database Drift.*way to the data/],
  ['the login of the runtime', () => forget(CREDENTIALS_SECRET, 'shard-a'), /Shard\/shard-a Drift.*new password/],
  ['the kept admin login', () => forget('tenantry-admin-logins', 'shard-a'), /Shard\/shard-a Drift.*admin login/],
  ['a routing document, edited', editDocument, /ConfigMap\/\S+ Drift/],
  ['a routing document, deleted', () => run('delete', 'configmap', SHARDS_DOCUMENT), /ConfigMap\/\S+ Drift/],
  ['the mark of the Shard', () => `COMMENT ON DATABASE ${names.database} IS NULL`, /Shard\/shard-a Drift.*comment/],
  ['a door to the Shard', () => `GRANT CONNECT ON DATABASE ${names.database} TO PUBLIC`, /Shard\/shard-a Drift.*PUBLIC/],
  ['the times of the runtime', () => `ALTER ROLE ${names.login} SET statement_timeout = 0`, /Shard\/shard-a Drift.*times/],
  ['the password of the runtime', () => `ALTER ROLE ${names.login} PASSWORD 'another'`, /Shard\/shard-a Drift.*another password/],
  ['a role of the Shard', () => `DROP ROLE ${names.login}`, /Shard\/shard-a Drift.*role/],
  ['a neighbour', () => `DELETE FROM tenantry.tenants WHERE uid = '${neighbours.row}'`, /neighbour/],
  ["a neighbour's rows", emptyNeighbour, /neighbour/],
  ['the template', dropTemplate, /template/],
  ['a right of PUBLIC, while the Shard was not Ready', openUnready, /Shard\/shard-a Drift.*PUBLIC/],
]

async function openUnready(): Promise<unknown> {
  await run('delete', 'secret', ADMIN_SECRET)
  await run('wait', '--for=condition=Ready=false', 'shard/shard-a', '--timeout=60s')
  await admin.query(`GRANT CONNECT ON DATABASE ${names.database} TO PUBLIC`)
  return applyShardSecrets(namespace)
}

/** A superuser may look behind every wall. */
async function emptyNeighbour(): Promise<unknown> {
  const root = await connectAsSuperuser(inject('postgres'), names.database)
  return root.query(`DELETE FROM ${tenantName(neighbours.schema)}.tasks`).finally(() => root.end())
}

async function dropTemplate(): Promise<unknown> {
  await admin.query(`ALTER DATABASE ${names.template} IS_TEMPLATE false`)
  return admin.query(`DROP DATABASE ${names.template}`)
}

async function editDocument(): Promise<unknown> {
  const { document = '' } = (await published(namespace, uids.get('row') ?? '')) ?? {}
  return run('patch', 'configmap', document, '--type=merge', '-p', '{"data":{"routing.yaml":"version: 1"}}')
}

async function passes(): Promise<number> {
  const text = await (await fetch(`${operator.url}/metrics`)).text()
  return Number(/tenantry_reconcile_duration_seconds_count\{kind="tenant",result="done"\} (\d+)/.exec(text)?.[1] ?? 0)
}

test('OP-16: each kind of drift is repaired, and each repair is one Event', { timeout: 240_000 }, async () => {
  for (const [number, [kind, change, expected]] of DRIFT.entries()) {
    const drift = change()
    await (typeof drift === 'string' ? admin.query(drift) : drift)
    await vi.waitFor(() => expect(told()[number], `${kind}, after ${told().at(-1)}`).toMatch(expected), PATIENCE)
  }
  await allReady()
  const before = await passes()
  await vi.waitFor(async () => expect(await passes()).toBeGreaterThan(before + 9), PATIENCE)
  expect(told()).toHaveLength(DRIFT.length)
  const { items } = await get('events')
  type Told = { reason: string; message: string; involvedObject: { kind: string; name: string } }
  const events = items.map(({ reason, message, involvedObject: { kind, name } }: Told) => `${kind}/${name} ${reason}: ${message}`)
  expect(events).toEqual(expect.arrayContaining(told()))
  printFigure(`OP-16: ${DRIFT.length} kinds of drift repaired of ${DRIFT.length}, each with one Event`)
})
