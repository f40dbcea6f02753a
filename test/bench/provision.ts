import { randomBytes, randomUUID } from 'node:crypto'
import { formatRouting, ROUTING_VERSION, type Route } from '../../config/routing.ts'
import type { Isolation } from '../../crds/tenant.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, SECRETS, SHARDS, TENANTS } from '../../operator/kubernetes/object.ts'
import { latest, type Migrations, readMigrations } from '../../operator/postgres/migrations.ts'
import { physicalNames, shardNames } from '../../operator/postgres/names.ts'
import { buildRoute, type Home } from '../../operator/routing/build.ts'
import type { Tenant } from '../../operator/tenant/home.ts'
import { routeLimits } from '../../operator/tenant/limits.ts'
import { describeTenant } from '../../operator/tenant/settings.ts'
import { tenantStatus } from '../../operator/tenant/status.ts'
import { type Ddl, openDdl } from './ddl.ts'
import type { Bench, Rounds } from './figures.ts'
import { type Platform, startPlatform } from './platform.ts'
import { applyTenants, createTenant, IN_FLIGHT, inParallel, type Load } from './tenants.ts'

/** As many connections as the operator has to a Shard, and as many tenants at once. */
const CONNECTIONS = 4
const WORKERS = 8
/** Where the peer writes: no operator looks there. */
const ELSEWHERE = 'provision'
const BUCKETS = 16

/**
 * So many Tenants of one isolation, each with an API key, applied at once until the last is Ready. The peer is a loop that writes the same
 * to the API server and runs the same DDL, as many at once, and looks at nothing; the limit is the DDL alone.
 */
function provision(isolation: Isolation, preset: number, atMost: number): Bench {
  const count = Number(process.env[`BENCH_${isolation.toUpperCase()}_TENANTS`] ?? preset)
  return {
    name: `provision-${isolation}`,
    unit: 's',
    target: { atMost, of: 'peer' },
    measure: async (rounds) => {
      const platform = await startPlatform()
      const migrations = await readMigrations('config/migrations')
      const found: Rounds = { ours: [], limit: [], peers: { 'loop of writes and DDL': [] } }
      try {
        await makeRoom(platform)
        for (let round = 0; round < rounds; round++) {
          const prefix = `${isolation}-${round}`
          found.peers['loop of writes and DDL']?.push(await loop(platform, migrations, { prefix, count, isolation }))
          found.ours.push(await applyTenants(platform, { prefix, count, isolation }))
          found.limit.push(await ddlAlone(platform, migrations, isolation, count))
        }
        return found
      } finally {
        await platform.stop()
      }
    },
  }
}

/** One line for each isolation; BENCH_ROW_TENANTS, BENCH_SCHEMA_TENANTS and BENCH_DATABASE_TENANTS ask for other numbers. */
export const provisions: readonly Bench[] = [provision('row', 200, 1.3), provision('schema', 200, 1.5), provision('database', 20, 1.5)]

async function makeRoom({ kubeconfig, kubectl }: Platform): Promise<void> {
  const client = connect({ kubeconfig })
  await client.patch(SHARDS, 'tenantry', 'shard-a', { spec: { capacity: { tenants: 100_000 } } })
  await client.close()
  await kubectl(['create', 'namespace', ELSEWHERE])
}

async function ddlAlone(platform: Platform, migrations: Migrations, isolation: Isolation, count: number): Promise<number> {
  const ddl = await openDdl(platform, isolation, migrations, CONNECTIONS)
  const uids = Array.from({ length: count }, () => randomUUID())
  const seconds = await timed(() => inParallel(WORKERS, uids, ddl.make))
  await inParallel(CONNECTIONS, uids, ddl.remove)
  await ddl.close()
  return seconds
}

async function loop(platform: Platform, migrations: Migrations, { prefix, count, isolation }: Load): Promise<number> {
  const client = connect({ kubeconfig: platform.kubeconfig })
  const ddl = await openDdl(platform, isolation, migrations, CONNECTIONS)
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
  const created: Tenant[] = []
  const queue = arrivals(created, count)
  const routes: Route[] = []
  const provideNext = async (_: string, index: number) => {
    const tenant = await queue.next()
    const home = await makeOne(client, ddl, tenant, latest(migrations.tenant))
    routes.push(routeTo(tenant, home))
    // Of a document, which gathers several tenants, one write for each round of the buckets.
    if (index % BUCKETS === 0)
      await writeBucket(
        client,
        routes.filter((_, at) => at % BUCKETS === 0),
      )
    await writeStatus(client, tenant, home)
  }
  const seconds = await timed(() =>
    Promise.all([
      inParallel(IN_FLIGHT, names, async (name) => queue.add(await createTenant(client, ELSEWHERE, name, isolation))),
      inParallel(WORKERS, names, provideNext),
    ]),
  )
  await inParallel(CONNECTIONS, created, ({ metadata }) => ddl.remove(metadata.uid))
  await ddl.close()
  await client.close()
  return seconds
}

async function makeOne(client: Client, ddl: Ddl, { metadata, spec }: Tenant, schemaVersion: number): Promise<Home> {
  const { name, uid } = metadata
  await client.patch(TENANTS, ELSEWHERE, name, { metadata: { uid, finalizers: ['tenantry.dev/tenant'] } })
  const key = { metadata: { name: `${name}-apikey-main` }, type: 'Opaque', stringData: { token: randomBytes(32).toString('base64url') } }
  await Promise.all([ddl.make(uid), client.create(SECRETS, ELSEWHERE, key)])
  if (spec.isolation === 'database') await writeLogin(client, uid)
  const physical = physicalNames(spec.isolation, shardNames('tenantry'), uid)
  return { shard: 'shard-a', isolation: spec.isolation, ...physical, epoch: 1, schemaVersion }
}

function routeTo({ metadata: { name, uid }, spec }: Tenant, home: Home): Route {
  return buildRoute({
    id: name,
    uid,
    about: describeTenant(spec),
    home,
    state: { state: 'active' },
    limits: routeLimits(spec),
    hosts: [],
    keys: [{ name: 'main', sha256: uid.replaceAll('-', '').repeat(2) }],
  })
}

function writeStatus(client: Client, tenant: Tenant, home: Home): Promise<unknown> {
  const { name, uid } = tenant.metadata
  const status = tenantStatus(
    tenant,
    { kind: 'stands', home, failure: undefined, suspension: undefined, verdict: { kind: 'verified', attempts: 27 } },
    new Date(),
  )
  return client.apply(TENANTS, ELSEWHERE, { metadata: { name, uid }, status }, { subresource: 'status' })
}

function writeBucket(client: Client, tenants: Route[]): Promise<unknown> {
  const text = formatRouting({ version: ROUTING_VERSION, shards: {}, tenants })
  return client.apply(CONFIG_MAPS, ELSEWHERE, { metadata: { name: 'bucket' }, data: { 'routing.yaml': text } })
}

function writeLogin(client: Client, uid: string): Promise<unknown> {
  return client.apply(SECRETS, ELSEWHERE, {
    metadata: { name: 'logins' },
    stringData: { [uid]: JSON.stringify({ username: uid, password: uid }) },
  })
}

/** Tenants as they come, in order, for those who wait for the next. */
function arrivals(all: Tenant[], count: number): { add: (tenant: Tenant) => void; next: () => Promise<Tenant> } {
  const waits = Array.from({ length: count }, () => Promise.withResolvers<Tenant>())
  let taken = 0
  return {
    add: (tenant) => {
      waits[all.push(tenant) - 1]?.resolve(tenant)
    },
    next: () => waits[taken++]?.promise ?? Promise.reject(new Error('there are no more')),
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}
