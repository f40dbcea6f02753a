import { createHash, randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { parseCredentials } from '../../config/routing.ts'
import type { TenantStatus } from '../../crds/tenant.ts'
import { latest, readMigrations } from '../../operator/postgres/migrations.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { published, publishedRoute } from '../builders/published.ts'
import { applyAll, applyShardSecrets, secret, shardManifest, shardSpec } from '../builders/shard.ts'
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
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database), { zone: 'a' })])
  operator = await startOperator(namespace, { TENANTRY_RESYNC_SECONDS: '2' })
  await ready('shard', 'shard-a')
  const url = new URL(inject('postgres').adminUrl)
  url.pathname = `/${database}`
  admin = new pg.Client({ connectionString: url.href })
  await admin.connect()
})

afterAll(async () => {
  await admin?.end()
  await operator?.stop()
})

const ready = (kind: string, name: string) =>
  kubectl(['wait', '-n', namespace, '--for=condition=Ready', `${kind}/${name}`, '--timeout=40s'])
const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const statusOf = async (name: string): Promise<TenantStatus> => (await get('tenant', name)).status ?? {}
const events = async (name: string): Promise<{ reason: string; message: string }[]> =>
  (await get('events')).items.filter((event: { involvedObject: { name: string } }) => event.involvedObject.name === name)

const routeOf = (uid: string) => publishedRoute(namespace, uid)

async function token(name: string, key: string): Promise<string> {
  return Buffer.from((await get('secret', `${name}-apikey-${key}`)).data.token, 'base64').toString()
}

async function create(name: string, spec: object = {}): Promise<string> {
  await applyAll(namespace, [tenantManifest(name, { shardRef: { name: 'shard-a' }, ...spec })])
  await ready('tenant', name)
  return (await get('tenant', name)).metadata.uid
}

test('a Tenant becomes Ready, with schema, role, key and route, and one Event a step', async () => {
  const uid = await create('acme', { shardRef: undefined, hosts: ['tasks.acme.example'] })
  const name = `t_${uid.replaceAll('-', '')}`
  expect(await statusOf('acme')).toMatchObject({
    phase: 'Ready',
    shard: 'shard-a',
    database,
    schema: name,
    role: name,
    epoch: 1,
    schemaVersion: latest((await readMigrations('config/migrations')).tenant),
  })
  const key = await token('acme', 'main')
  expect(key).toMatch(/^tnt_[\w-]{43}$/)
  expect(await routeOf(uid)).toMatchObject({
    id: 'acme',
    hosts: ['tasks.acme.example'],
    keys: [{ name: 'main', sha256: createHash('sha256').update(key).digest('hex') }],
  })
  await vi.waitFor(
    async () => expect((await events('acme')).map(({ reason }) => reason).sort()).toEqual(['LeastLoadedShard', 'TenantReady']),
    PATIENCE,
  )
})

test("the runtime's login reaches a tenant only through its role, and nothing else of the database", async () => {
  const uid = await create('beta')
  const { data } = await get('secret', 'tenantry-runtime-credentials')
  const parsed = parseCredentials(Buffer.from(data['shard-a'], 'base64').toString())
  if (!parsed.ok) throw new Error(parsed.faults.join())
  const { username, password, ca } = parsed.value
  const { host, port } = inject('postgres')
  const login = new pg.Client({ host, port, database, user: username, password, ssl: { ca: ca ?? '' } })
  await login.connect()
  try {
    const schema = `t_${uid.replaceAll('-', '')}`
    await expect(login.query(`SELECT * FROM ${schema}.tasks`)).rejects.toThrow(/permission denied/)
    await login.query(`BEGIN; SET LOCAL ROLE ${schema}`)
    expect((await login.query(`SELECT tenant FROM tenantry.head`)).rows).toEqual([{ tenant: uid }])
    expect((await login.query(`SELECT * FROM ${schema}.tasks`)).rows).toEqual([])
    await login.query('ROLLBACK')
    for (const attempt of [
      'SELECT * FROM tenantry.tenants',
      'CREATE TABLE public.x ()',
      'CREATE TEMPORARY TABLE x ()',
      'CREATE SCHEMA x',
    ]) {
      await expect(login.query(attempt)).rejects.toThrow(/permission denied/)
    }
  } finally {
    await login.end()
  }
})

test('OP-20: quiet resyncs write nothing', async () => {
  await create('quiet')
  await vi.waitFor(async () => expect((await get('shard', 'shard-a')).status.tenants).toBe((await get('tenants')).items.length), PATIENCE)
  const versions = async () => {
    const { items } = await get('tenants,shards,secrets,configmaps,events')
    return items.map(
      ({ kind, metadata }: { kind: string; metadata: { name: string; resourceVersion: string } }) =>
        `${kind}/${metadata.name}@${metadata.resourceVersion}`,
    )
  }
  const passes = async () => {
    const text = await (await fetch(`${operator.url}/metrics`)).text()
    return Number(/tenantry_reconcile_duration_seconds_count\{kind="tenant",result="done"\} (\d+)/.exec(text)?.[1] ?? 0)
  }
  const before = await versions()
  const start = await passes()
  await vi.waitFor(async () => expect(await passes()).toBeGreaterThan(start + 6), PATIENCE)
  expect(await versions()).toEqual(before)
})

test('a Tenant waits for a Shard that does not exist, and goes on by itself when it appears', async () => {
  await applyAll(namespace, [tenantManifest('early', { shardRef: { name: 'shard-late' } })])
  await vi.waitFor(
    async () =>
      expect((await statusOf('early')).conditions).toContainEqual(
        expect.objectContaining({ type: 'Placed', status: 'False', reason: 'ShardNotFound' }),
      ),
    PATIENCE,
  )
  await applyAll(namespace, [shardManifest('shard-late', shardSpec(`${database}_late`))])
  await ready('tenant', 'early')
  await kubectl(['delete', 'tenant', 'early', '-n', namespace])
})

test('keys come and go with the spec; a Secret of somebody else is neither read nor taken', async () => {
  await applyAll(namespace, [secret('keys-apikey-theirs', { token: 'mine' })])
  const uid = await create('keys', { apiKeys: [{ name: 'one' }, { name: 'two' }] })
  const first = await token('keys', 'one')
  await applyAll(namespace, [tenantManifest('keys', { apiKeys: [{ name: 'one' }, { name: 'theirs' }] })])
  await vi.waitFor(
    async () =>
      expect((await statusOf('keys')).conditions).toContainEqual(
        expect.objectContaining({ type: 'Ready', status: 'False', reason: 'NameConflict' }),
      ),
    PATIENCE,
  )
  expect(await token('keys', 'theirs')).toBe('mine')
  expect((await routeOf(uid))?.keys.map(({ name }) => name)).toEqual(['one'])
  expect(await token('keys', 'one')).toBe(first)
  await expect(token('keys', 'two')).rejects.toThrow(/not found/)
  await kubectl(['delete', 'secret', 'keys-apikey-theirs', '-n', namespace])
  await ready('tenant', 'keys')
})

test('TI-04, TI-05: what a key may do, when it ends, and who signs tokens is published with the route', async () => {
  const jwt = { issuer: 'https://id.example/', audiences: ['tasks'], jwksUri: 'https://id.example/jwks' }
  const uid = await create('signed', { jwt, apiKeys: [{ name: 'main', scopes: ['tasks:read'], expiresAt: '2099-01-01T01:00:00+01:00' }] })
  const prefix = (await token('signed', 'main')).slice(0, 12)
  expect(await routeOf(uid)).toMatchObject({
    keys: [{ name: 'main', prefix, scopes: ['tasks:read'], expiresAt: '2099-01-01T00:00:00.000Z' }],
    jwt: { ...jwt, algorithms: ['RS256', 'ES256', 'EdDSA'] },
  })
  await applyAll(namespace, [tenantManifest('signed', {})])
  await vi.waitFor(async () => expect((await routeOf(uid))?.jwt).toBeUndefined(), PATIENCE)
})

test('TI-05: a token is replaced at its time; both are valid for an hour, and only hashes travel', async () => {
  const uid = await create('turns')
  const hash = (text: string) => createHash('sha256').update(text).digest('hex')
  const hashes = async () => (await routeOf(uid))?.keys.map(({ sha256 }) => sha256).sort()
  const before = await token('turns', 'main')
  await setTimeout(1_000)
  const rotateAt = new Date(Date.now() + 2_000).toISOString()
  await applyAll(namespace, [tenantManifest('turns', { shardRef: { name: 'shard-a' }, apiKeys: [{ name: 'main', rotateAt }] })])
  expect(await token('turns', 'main')).toBe(before)
  await vi.waitFor(async () => expect(await token('turns', 'main')).not.toBe(before), PATIENCE)
  const late = Date.now() - Date.parse(rotateAt)
  const after = await token('turns', 'main')
  await vi.waitFor(async () => expect(await hashes()).toEqual([hash(before), hash(after)].sort()), PATIENCE)
  await vi.waitFor(async () => expect((await events('turns')).map(({ reason }) => reason)).toContain('ApiKeyRotated'), PATIENCE)
  const secret = await get('secret', 'turns-apikey-main')
  expect(JSON.stringify(secret.metadata)).toContain(hash(before))
  expect(Date.parse(secret.metadata.annotations['tenantry.dev/previous-until']) - Date.now()).toBeGreaterThan(3_500_000)
  expect(JSON.stringify([await get('events,configmaps,tenants'), operator.lines])).not.toContain(before)

  await kubectl(['annotate', 'secret', 'turns-apikey-main', '-n', namespace, '--overwrite', `tenantry.dev/previous-until=${rotateAt}`])
  await vi.waitFor(async () => expect(await hashes()).toEqual([hash(after)]), PATIENCE)
  await vi.waitFor(async () => expect(JSON.stringify(await get('secret', 'turns-apikey-main'))).not.toContain(hash(before)), PATIENCE)
  expect(await token('turns', 'main')).toBe(after)
  printFigure(`TI-05: a token was replaced ${late} ms after its time`)
})

test('OP-17: Retain keeps the data, closes it and says so; Delete leaves nothing', async () => {
  const kept = await create('kept')
  const gone = await create('gone', { deletionPolicy: 'Delete' })
  await kubectl(['delete', 'tenant', 'kept', 'gone', '-n', namespace, '--timeout=40s'])
  const names = [kept, gone].map((uid) => `t_${uid.replaceAll('-', '')}`)
  const found = async (sql: string) => (await admin.query(sql, [names])).rows.map((row) => row.name)
  expect(await found('SELECT nspname AS name FROM pg_namespace WHERE nspname = ANY ($1)')).toEqual([names[0]])
  expect(await found('SELECT rolname AS name FROM pg_roles WHERE rolname = ANY ($1)')).toEqual([names[0]])
  expect(
    await found(`SELECT r.rolname AS name FROM pg_roles r WHERE r.rolname = ANY ($1) AND pg_has_role('${database}_runtime', r.oid, 'SET')`),
  ).toEqual([])
  expect(
    (await admin.query('SELECT uid, retained_at IS NOT NULL AS retained FROM tenantry.tenants WHERE uid = ANY ($1)', [[kept, gone]])).rows,
  ).toEqual([{ uid: kept, retained: true }])
  expect((await admin.query('SELECT tenant FROM tenantry.head WHERE tenant = ANY ($1)', [[kept, gone]])).rows).toEqual([{ tenant: kept }])
  for (const uid of [kept, gone]) expect(await routeOf(uid)).toBeUndefined()
  for (const name of ['kept', 'gone']) await expect(token(name, 'main')).rejects.toThrow(/not found/)
  expect(await events('kept')).toContainEqual(
    expect.objectContaining({ reason: 'DataRetained', message: expect.stringContaining(names[0] ?? '') }),
  )
  expect(await events('gone')).toContainEqual(expect.objectContaining({ reason: 'DataRemoved' }))
})

test('OP-16: what is changed by hand is put right: a key Secret, a routing document, a grant', async () => {
  const uid = await create('drift')
  await kubectl(['delete', 'secret', 'drift-apikey-main', '-n', namespace])
  await admin.query(`REVOKE t_${uid.replaceAll('-', '')} FROM ${database}_runtime`)
  const { document = '' } = (await published(namespace, uid)) ?? {}
  await kubectl(['patch', 'configmap', document, '-n', namespace, '--type=merge', '-p', '{"data":{"routing.yaml":"version: 1"}}'])
  await vi.waitFor(async () => {
    const sha256 = createHash('sha256')
      .update(await token('drift', 'main'))
      .digest('hex')
    expect((await routeOf(uid))?.keys).toMatchObject([{ name: 'main', sha256 }])
    const { rows } = await admin.query('SELECT pg_has_role($1, $2, $3) AS may', [
      `${database}_runtime`,
      `t_${uid.replaceAll('-', '')}`,
      'SET',
    ])
    expect(rows).toEqual([{ may: true }])
  }, PATIENCE)
})

test('after SIGKILL a new operator keeps every route and finishes what was begun', async () => {
  const uid = await create('steady')
  const before = await routeOf(uid)
  await operator.kill()
  await applyAll(namespace, [tenantManifest('while-away')])
  operator = await startOperator(namespace, { TENANTRY_RESYNC_SECONDS: '2' })
  await ready('tenant', 'while-away')
  expect(await routeOf(uid)).toEqual(before)
})

test('SIGTERM gives the Lease back and ends with 0', async () => {
  expect(await operator.stop()).toBe(0)
  expect((await get('lease', 'tenantry-operator')).spec.holderIdentity ?? '').toBe('')
})
