import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { Condition } from '../../crds/condition.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { publishedRoute } from '../builders/published.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'
import { startTcpProxy } from '../faults/tcp-proxy.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let operator: RunningOperator
let admin: pg.Client

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database))])
  operator = await startOperator(namespace)
  await ready('shard', 'shard-a')
  admin = await connect(database)
})

afterAll(async () => {
  await admin?.end()
  await operator?.stop()
})

async function connect(name: string): Promise<pg.Client> {
  const url = new URL(inject('postgres').adminUrl)
  url.pathname = `/${name}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  return client
}

const run = (...args: string[]) => kubectl([...args, '-n', namespace])
const ready = (kind: string, name: string) => run('wait', '--for=condition=Ready', `${kind}/${name}`, '--timeout=40s')
const get = async (...what: string[]) => JSON.parse(await run('get', '-o', 'json', ...what))
const patch = (kind: string, name: string, spec: object) => run('patch', kind, name, '--type=merge', '-p', JSON.stringify({ spec }))
const gone = (kind: string, name: string) => vi.waitFor(() => expect(get(kind, name)).rejects.toThrow(/not found/), PATIENCE)
const events = async (name: string): Promise<{ type: string; reason: string; message: string }[]> =>
  (await get('events')).items.filter((event: { involvedObject: { name: string } }) => event.involvedObject.name === name)

async function create(name: string, spec: object = {}): Promise<string> {
  await applyAll(namespace, [tenantManifest(name, { shardRef: { name: 'shard-a' }, ...spec })])
  await ready('tenant', name)
  return (await get('tenant', name)).metadata.uid
}

/** Waits for a condition of the resource, as it now is; gives its message. */
function says(kind: string, name: string, condition: Partial<Condition>): Promise<string> {
  return vi.waitFor(async () => {
    const { metadata, status } = await get(kind, name)
    const found = status?.conditions?.find(({ type }: Condition) => type === condition.type)
    expect(found).toMatchObject({ ...condition, observedGeneration: metadata.generation })
    return found.message
  }, PATIENCE)
}

const routeOf = (uid: string) => publishedRoute(namespace, uid)

async function standing(uid: string): Promise<string[]> {
  const name = `t_${uid.replaceAll('-', '')}`
  const sql = `SELECT 'schema' AS what FROM pg_namespace WHERE nspname = $1 UNION ALL SELECT 'role' FROM pg_roles WHERE rolname = $1
    UNION ALL SELECT 'record' FROM tenantry.tenants WHERE uid = $2`
  return (await admin.query(sql, [name, uid])).rows.map(({ what }) => what)
}

test('TI-08: suspended by its owner: the route says so, everything is kept, and it is resumed', async () => {
  const uid = await create('paused')
  const before = await routeOf(uid)
  await patch('tenant', 'paused', { suspended: true })
  const message = await says('tenant', 'paused', { type: 'Ready', status: 'False', reason: 'Suspended' })
  expect(message).toContain('set spec.suspended to false')
  expect((await get('tenant', 'paused')).status.phase).toBe('Suspended')
  expect(await routeOf(uid)).toEqual({ ...before, state: 'suspended' })
  expect(await standing(uid)).toEqual(['schema', 'role', 'record'])
  expect((await events('paused')).find(({ reason }) => reason === 'Suspended')?.type).toBe('Normal')
  await patch('tenant', 'paused', { suspended: false })
  await ready('tenant', 'paused')
  expect(await routeOf(uid)).toEqual(before)
})

test('TI-08: at the end of the subscription the Tenant is suspended by itself, and a later end resumes it', async () => {
  const end = new Date(Date.now() + 4_000)
  const uid = await create('trial', { subscriptionEndsAt: end.toISOString() })
  expect(await routeOf(uid)).toMatchObject({ state: 'active', subscriptionEndsAt: end.toISOString() })
  await says('tenant', 'trial', { type: 'Ready', status: 'False', reason: 'Suspended' })
  expect(Date.now()).toBeGreaterThanOrEqual(end.getTime())
  expect((await routeOf(uid))?.state).toBe('suspended')
  await patch('tenant', 'trial', { subscriptionEndsAt: '2099-01-01T00:00:00Z' })
  await ready('tenant', 'trial')
  expect(await routeOf(uid)).toMatchObject({ state: 'active', subscriptionEndsAt: '2099-01-01T00:00:00.000Z' })
})

test('OP-17: Delete lets the Tenant go only when the catalog shows that nothing is left', async () => {
  const uid = await create('stubborn', { deletionPolicy: 'Delete' })
  await admin.query(`CREATE FUNCTION tenantry.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
  await admin.query(
    `CREATE TRIGGER keep BEFORE DELETE ON tenantry.tenants FOR EACH ROW WHEN (OLD.uid = '${uid}') EXECUTE FUNCTION tenantry.keep()`,
  )
  await run('delete', 'tenant', 'stubborn', '--wait=false')
  const message = await says('tenant', 'stubborn', { type: 'Ready', status: 'False', reason: 'DeletionBlocked' })
  expect(message).toContain(`there is still rows of ${uid}`)
  await admin.query('DROP FUNCTION tenantry.keep CASCADE')
  await gone('tenant', 'stubborn')
  expect(await standing(uid)).toEqual([])
})

test('OP-17: a Tenant whose Shard is away waits, and is released by an annotation that names it', async () => {
  const { host, port } = inject('postgres')
  const proxy = await startTcpProxy({ host, port })
  const other = `${database}_p`
  await applyAll(namespace, [shardManifest('lost', shardSpec('', { endpoint: { host: proxy.host, port: proxy.port, database: other } }))])
  await ready('shard', 'lost')
  const uid = await create('stranded', { shardRef: { name: 'lost' }, deletionPolicy: 'Delete' })
  proxy.down()
  await run('delete', 'tenant', 'stranded', '--wait=false')
  await run('delete', 'shard', 'lost', '--wait=false')
  const message = await says('tenant', 'stranded', { type: 'Ready', status: 'False' })
  expect(message).toContain(`kubectl annotate tenant stranded -n ${namespace} tenantry.dev/release=stranded`)
  await run('annotate', 'tenant', 'stranded', 'tenantry.dev/release=another')
  await says('shard', 'lost', { type: 'Stalled', status: 'True', reason: 'TenantsRemain' })
  expect((await get('tenant', 'stranded')).metadata.finalizers).toEqual(['tenantry.dev/tenant'])
  await run('annotate', '--overwrite', 'tenant', 'stranded', 'tenantry.dev/release=stranded')
  await gone('tenant', 'stranded')
  await gone('shard', 'lost')
  const released = (await events('stranded')).find(({ reason }) => reason === 'Released')
  expect(released).toMatchObject({ type: 'Warning', message: expect.stringContaining(`t_${uid.replaceAll('-', '')}`) })
  await expect(get('secret', 'stranded-apikey-main')).rejects.toThrow(/not found/)
  await proxy.close()
  const left = await connect(other)
  expect((await left.query("SELECT uid FROM tenantry.tenants WHERE namespace <> ''")).rows).toEqual([{ uid }])
  await left.end()
})

test('a Shard to be deleted serves its Tenants until the last has gone; data that is kept does not hold it', async () => {
  await applyAll(namespace, [shardManifest('leaving', shardSpec(`${database}_l`))])
  await ready('shard', 'leaving')
  const kept = await create('last', { shardRef: { name: 'leaving' } })
  await run('delete', 'shard', 'leaving', '--wait=false')
  const message = await says('shard', 'leaving', { type: 'Stalled', status: 'True', reason: 'TenantsRemain' })
  expect(message).toContain('the 1 Tenants that live here')
  await ready('shard', 'leaving')
  await patch('tenant', 'last', { apiKeys: [{ name: 'main' }, { name: 'more' }] })
  await vi.waitFor(async () => expect((await routeOf(kept))?.keys.map(({ name }) => name)).toEqual(['main', 'more']), PATIENCE)
  await ready('tenant', 'last')
  await run('delete', 'tenant', 'last', '--timeout=40s')
  await gone('shard', 'leaving')
  const { data } = await get('configmap', 'tenantry-routing-shards')
  expect(data['routing.yaml']).not.toContain('leaving')

  const { data: logins } = await get('secret', 'tenantry-runtime-credentials')
  expect(Object.keys(logins)).not.toContain('leaving')
  const client = await connect(`${database}_l`)
  const { rows } = await client
    .query(
      `SELECT (SELECT count(*)::int FROM tenantry.spares) AS spares, (SELECT count(*)::int FROM pg_namespace WHERE nspname LIKE 'spare%') AS schemas,
              (SELECT count(*)::int FROM pg_roles WHERE rolname LIKE $1) AS logins,
              (SELECT count(*)::int FROM tenantry.tenants WHERE uid = $2 AND retained_at IS NOT NULL) AS kept`,
      [`${database}_l_runtime\\__`, kept],
    )
    .finally(() => client.end())
  expect(rows).toEqual([{ spares: 0, schemas: 0, logins: 0, kept: 1 }])
  await applyAll(namespace, [shardManifest('leaving', shardSpec(`${database}_l`))])
  await ready('shard', 'leaving')
  await create('heir', { shardRef: { name: 'leaving' }, adopt: kept })
})

test('a Shard without Tenants goes although its server is away, and says what is left there; a login that owns something is only closed', async () => {
  const { host, port } = inject('postgres')
  const proxy = await startTcpProxy({ host, port })
  const place = `${database}_s`
  const spec = (address: { host: string; port: number }) =>
    shardSpec('', { endpoint: { host: address.host, port: address.port, database: place } })
  await applyAll(namespace, [shardManifest('left', spec(proxy))])
  await ready('shard', 'left')
  proxy.down()
  await run('delete', 'shard', 'left', '--timeout=40s')
  const told = await vi.waitFor(async () => {
    const found = (await events('left')).find(({ reason }) => reason === 'LeftOnServer')
    expect(found).toBeDefined()
    return found
  }, PATIENCE)
  expect(told).toMatchObject({ type: 'Warning', message: expect.stringContaining(`${place}_runtime_a`) })
  await proxy.close()
  const logins = async () =>
    (await admin.query(`SELECT rolname AS login, rolcanlogin AS open FROM pg_roles WHERE rolname LIKE $1`, [`${place}_runtime\\__`])).rows
  expect(await logins()).toEqual([{ login: `${place}_runtime_a`, open: true }])

  await applyAll(namespace, [shardManifest('left', spec({ host, port }))])
  await ready('shard', 'left')
  const left = await connectAsSuperuser(inject('postgres'), place)
  const login = `${place}_runtime_a`
  await left.query(`CREATE TABLE public.found (); ALTER TABLE public.found OWNER TO ${login}`)
  await left.end()
  await run('delete', 'shard', 'left', '--timeout=40s')
  expect(await logins()).toEqual([{ login, open: false }])
})

test('a Shard that was refused since its database is another’s leaves that alone when it goes, and an operator that begins anew tidies up', async () => {
  const place = `${database}_o`
  await applyAll(namespace, [shardManifest('owner', shardSpec(place))])
  await ready('shard', 'owner')
  await applyAll(namespace, [shardManifest('intruder', shardSpec(place))])
  await says('shard', 'intruder', { type: 'Ready', status: 'False', reason: 'NameConflict' })
  await run('delete', 'shard', 'intruder', '--timeout=40s')
  expect((await events('intruder')).filter(({ reason }) => reason === 'LeftOnServer')).toEqual([])
  const open = async () => (await admin.query(`SELECT FROM pg_roles WHERE rolname = $1 AND rolcanlogin`, [`${place}_runtime_a`])).rowCount
  expect(await open()).toBe(1)
  await operator.stop()
  await run('delete', 'shard', 'owner', '--wait=false')
  operator = await startOperator(namespace)
  await gone('shard', 'owner')
  expect(await open()).toBe(0)
})
