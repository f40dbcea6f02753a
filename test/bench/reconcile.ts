import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client as Postgres } from 'pg'
import { isTrue } from '../../crds/condition.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { EVENTS, TENANTS } from '../../operator/kubernetes/object.ts'
import { watch } from '../../operator/kubernetes/watch.ts'
import { type Migration, readMigrations } from '../../operator/postgres/migrations.ts'
import { shardNames, tenantName } from '../../operator/postgres/names.ts'
import { createTenant, dropTenant } from '../../operator/postgres/statements.ts'
import type { Bench, Rounds } from './figures.ts'
import { type Platform, startPlatform } from './platform.ts'

const TENANT_COUNT = 200
const NAMESPACE = 'tenantry'
const DATABASE = 'tenantry'
/** Creations under way at once: more would only measure how many TLS connections the API server can open. */
const IN_FLIGHT = 16
/** As many connections as the operator has to a Shard. */
const CONNECTIONS = 4
const QUIET = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/**
 * 200 Tenants, each with an API key, applied at once until the last is Ready. The peer is a loop that runs the same DDL for as many
 * names and does nothing else; the limit is the same DDL over as many connections as the operator has.
 */
export const reconcile: Bench = {
  name: 'reconcile',
  unit: 's',
  target: { atMost: 2, of: 'peer' },
  measure: async (count) => {
    const platform = await startPlatform()
    const { tenant: migrations } = await readMigrations('config/migrations')
    const rounds: Rounds = { ours: [], limit: [], peers: { 'loop of DDL': [] } }
    try {
      for (let round = 0; round < count; round++) {
        rounds.peers['loop of DDL']?.push(await runDdl(platform, migrations, 1))
        rounds.ours.push(await applyTenants(platform, `bench-${round}`))
        rounds.limit.push(await runDdl(platform, migrations, CONNECTIONS))
      }
      return rounds
    } finally {
      await platform.stop()
    }
  },
}

/** Seconds until the last of the new Tenants is Ready; then they are deleted, data and all, for the next round. */
async function applyTenants({ kubeconfig }: Platform, prefix: string): Promise<number> {
  const client = connect({ kubeconfig })
  const ended = new AbortController()
  const { promise: done, resolve } = Promise.withResolvers<void>()
  const names = Array.from({ length: TENANT_COUNT }, (_, index) => `${prefix}-${index}`)
  const missing = new Set(names)
  const onChange = (name: string) => {
    const tenant = store.get(name)
    if (isTrue(tenant?.status?.conditions, 'Ready', tenant?.metadata.generation ?? 0)) missing.delete(name)
    if (missing.size === 0) resolve()
  }
  const store = watch(client, TENANTS, NAMESPACE, { onChange, signal: ended.signal, log: QUIET })
  await store.synced
  const queue = [...names]
  const createSome = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) await createOne(client, name)
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: IN_FLIGHT }, createSome))
  await done
  const seconds = (performance.now() - started) / 1000
  ended.abort()
  await remove(client, names)
  await client.close()
  return seconds
}

function createOne(client: Client, name: string): Promise<unknown> {
  const spec = { isolation: 'schema', shardRef: { name: 'shard-a' }, apiKeys: [{ name: 'main' }], deletionPolicy: 'Delete' } as const
  return client.create(TENANTS, NAMESPACE, { metadata: { name }, spec: { ...spec, apiKeys: [...spec.apiKeys] } })
}

async function remove(client: Client, names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => client.delete(TENANTS, NAMESPACE, name)))
  const left = async () => (await client.list(TENANTS, NAMESPACE)).items.some(({ metadata }) => names.includes(metadata.name))
  while (await left()) await sleep(200)
  await quiet(client)
}

/** Until nothing is told of the round any more: the next one is not to pay for it. */
async function quiet(client: Client): Promise<void> {
  const told = async () => (await client.list(EVENTS, NAMESPACE)).items.length
  for (let before = -1, now = await told(); now !== before; ) {
    await sleep(1_000)
    before = now
    now = await told()
  }
}

/** Seconds for the DDL of as many tenants, spread over so many connections; then it is undone. */
async function runDdl({ shard }: Platform, migrations: readonly Migration[], connections: number): Promise<number> {
  const { host, port, adminUser: user, adminPassword: password, ca } = shard
  const open = async () => {
    const connection = new Postgres({ host, port, user, password, database: DATABASE, ssl: { ca } })
    await connection.connect()
    return connection
  }
  const uids = Array.from({ length: TENANT_COUNT }, () => randomUUID())
  const pool = await Promise.all(Array.from({ length: connections }, open))
  const each = async (statement: (uid: string) => string) => {
    const queue = [...uids]
    const work = async (connection: Postgres) => {
      for (let uid = queue.pop(); uid !== undefined; uid = queue.pop()) await connection.query(`BEGIN;${statement(uid)}COMMIT;`)
    }
    await Promise.all(pool.map(work))
  }
  const started = performance.now()
  await each((uid) => createTenant(shardNames(DATABASE), { uid, installation: uid, namespace: 'bench', name: uid, epoch: 1 }, migrations))
  const seconds = (performance.now() - started) / 1000
  await each((uid) => dropTenant(uid, tenantName(uid), tenantName(uid)))
  await Promise.all(pool.map((connection) => connection.end()))
  return seconds
}
