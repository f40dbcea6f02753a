import { randomBytes, randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { parseCredentials, parseRouting } from '../../config/routing.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, applyShardSecrets, secret, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'
import { startTcpProxy } from '../faults/tcp-proxy.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const suffix = randomBytes(4).toString('hex')
let namespace: string
let operator: RunningOperator

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  operator = await startOperator(namespace)
})

afterAll(() => operator?.stop())

const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const ready = (kind: string, name: string) =>
  kubectl(['wait', '-n', namespace, '--for=condition=Ready', `${kind}/${name}`, '--timeout=40s'])

function refused(name: string, reason: string): Promise<void> {
  return vi.waitFor(async () => {
    const condition = { type: 'Ready', status: 'False', reason }
    expect((await get('shard', name)).status?.conditions).toContainEqual(expect.objectContaining(condition))
  }, PATIENCE)
}

async function loginWith(name: string, database: string): Promise<string> {
  const { data } = await get('secret', 'tenantry-runtime-credentials')
  const parsed = parseCredentials(Buffer.from(data[name], 'base64').toString())
  if (!parsed.ok) throw new Error(parsed.faults.join())
  const { host, port } = inject('postgres')
  const { username: user, password, ca } = parsed.value
  const client = new pg.Client({ host, port, database, user, password, ssl: { ca: ca ?? '' } })
  await client.connect()
  await client.end()
  return password
}

test('a Shard becomes Ready: database, login, nothing left open to PUBLIC, endpoint published', async () => {
  const database = `test_${suffix}`
  await applyAll(namespace, [shardManifest('good', shardSpec(database))])
  await ready('shard', 'good')
  await loginWith('good', database)
  const url = new URL(inject('postgres').superuserUrl)
  url.pathname = `/${database}`
  const superuser = new pg.Client({ connectionString: url.href })
  await superuser.connect()
  const { rows } = await superuser.query(
    `SELECT has_database_privilege('public', current_database(), 'CONNECT') AS connect, has_database_privilege('public', current_database(), 'TEMP') AS temp,
            has_schema_privilege('public', 'public', 'USAGE') AS usage,
            (SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = $1) AS verifier`,
    [`${database}_runtime_a`],
  )
  await superuser.end()
  expect(rows).toEqual([{ connect: false, temp: false, usage: false, verifier: true }])
  const published = parseRouting((await get('configmap', 'tenantry-routing-shards')).data['routing.yaml'])
  expect(published).toMatchObject({ ok: true, value: { shards: { good: { database: database } } } })
})

test('a lost password and a password that does not match are put right', async () => {
  const database = `test_${suffix}`
  const before = await loginWith('good', database)
  const admin = new pg.Client({ connectionString: inject('postgres').adminUrl })
  await admin.connect()
  await admin.query(`ALTER ROLE ${database}_runtime_a PASSWORD 'other'`)
  await admin.end()
  await kubectl(['label', 'shard', 'good', '-n', namespace, 'touched=1'])
  await vi.waitFor(async () => expect(await loginWith('good', database)).toBe(before), PATIENCE)
  await kubectl(['patch', 'secret', 'tenantry-runtime-credentials', '-n', namespace, '--type=merge', '-p', '{"data":{"good":null}}'])
  await kubectl(['label', 'shard', 'good', '-n', namespace, 'touched=2', '--overwrite'])
  await vi.waitFor(async () => expect(await loginWith('good', database)).not.toBe(before), PATIENCE)
})

test('OP-14: what is wrong is named, and heals when it is mended', async () => {
  const { adminUser, adminPassword } = inject('postgres')
  await applyAll(namespace, [shardManifest('ill', shardSpec(`test_${suffix}_ill`, { adminSecretRef: { name: 'later' } }))])
  await refused('ill', 'AdminSecretMissing')
  await applyAll(namespace, [secret('later', { username: adminUser, password: 'wrong' })])
  await refused('ill', 'AuthenticationFailed')
  const superuser = new URL(inject('postgres').superuserUrl)
  await applyAll(namespace, [secret('later', { username: superuser.username, password: superuser.password })])
  await refused('ill', 'AdminIsSuperuser')
  await applyAll(namespace, [secret('later', { username: adminUser, password: adminPassword })])
  await ready('shard', 'ill')
})

test('a database that another Shard has is refused, and so is a certificate of another authority', async () => {
  await applyAll(namespace, [shardManifest('second', shardSpec(`test_${suffix}`))])
  await refused('second', 'NameConflict')
  const tls = { mode: 'verify-full' as const, caSecretRef: { name: 'other-ca', key: 'ca.crt' } }
  const { ca } = JSON.parse(Buffer.from(JSON.stringify({ ca: inject('kubernetes').ca })).toString())
  await applyAll(namespace, [secret('other-ca', { 'ca.crt': ca }), shardManifest('foreign', shardSpec(`test_${suffix}_f`, { tls }))])
  await refused('foreign', 'CertificateInvalid')
})

test('OP-19: another installation with a Shard of the same name in a namespace of the same name is told whose the database is', async () => {
  const { data } = await get('configmap', 'tenantry-installation')
  const database = `test_${suffix}_twin`
  const admin = new pg.Client({ connectionString: inject('postgres').adminUrl })
  await admin.connect()
  await admin.query(`CREATE DATABASE ${database}`)
  const theirs = `tenantry: Shard ${namespace}/twin of installation ${randomUUID()}`
  await admin.query(`COMMENT ON DATABASE ${database} IS '${theirs}'`)
  await applyAll(namespace, [shardManifest('twin', shardSpec(database))])
  await refused('twin', 'NameConflict')
  const { message } = (await get('shard', 'twin')).status.conditions.find(({ type }: { type: string }) => type === 'Ready')
  expect(message).toContain(`belongs to "${theirs}"`)
  expect(message).toContain(data.id)
  const { rows } = await admin.query(`SELECT rolname FROM pg_roles WHERE rolname LIKE '${database}%'`)
  expect(rows).toEqual([])
  await admin.query(`COMMENT ON DATABASE ${database} IS 'tenantry: Shard ${namespace}/twin'`)
  await kubectl(['label', 'shard', 'twin', '-n', namespace, 'touched=1'])
  await ready('shard', 'twin')
  await admin.end()
})

test('OP-19: a database that has the name of a template is not taken for one, and a Shard may be called by a reserved word', async () => {
  const database = `test_${suffix}_t`
  const admin = new pg.Client({ connectionString: inject('postgres').adminUrl })
  await admin.connect()
  const exists = async (name: string) => (await admin.query('SELECT FROM pg_database WHERE datname = $1', [name])).rows.length === 1
  await admin.query(`CREATE DATABASE ${database}_template`)
  await applyAll(namespace, [shardManifest('templated', shardSpec(database)), shardManifest('reserved', shardSpec('order'))])
  await refused('templated', 'NameConflict')
  expect(await exists(`${database}_template`)).toBe(true)
  await applyAll(namespace, [shardManifest('first', shardSpec(`${database}_template`))])
  await ready('shard', 'first')
  await kubectl(['label', 'shard', 'templated', '-n', namespace, 'touched=1'])
  await refused('templated', 'NameConflict')
  await ready('shard', 'first')
  await applyAll(namespace, [shardManifest('other-way', shardSpec(`${database}_template_template`))])
  await refused('other-way', 'NameConflict')
  await ready('shard', 'reserved')
  await admin.end()
})

test('OP-12: a Shard that goes away says so, keeps its tenants waiting and no others, and heals', async () => {
  const { host, port } = inject('postgres')
  const proxy = await startTcpProxy({ host, port })
  const endpoint = { host: proxy.host, port: proxy.port, database: `test_${suffix}_p` }
  await applyAll(namespace, [shardManifest('shaky', shardSpec('', { endpoint }))])
  await ready('shard', 'shaky')
  proxy.down()
  await kubectl(['label', 'shard', 'shaky', '-n', namespace, 'touched=1'])
  await refused('shaky', 'Unreachable')
  await applyAll(namespace, [
    tenantManifest('waits', { shardRef: { name: 'shaky' } }),
    tenantManifest('goes-on', { shardRef: { name: 'good' } }),
  ])
  await ready('tenant', 'goes-on')
  proxy.mend()
  await ready('tenant', 'waits')
  await proxy.close()
})
