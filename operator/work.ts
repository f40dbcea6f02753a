import type { ProcessLog } from '../config/log.ts'
import { CREDENTIALS_SECRET } from '../config/routing.ts'
import type { Client } from './kubernetes/client.ts'
import { INSTALLATION, readInstallation } from './kubernetes/installation.ts'
import { markNamespace } from './kubernetes/namespace.ts'
import { CONFIG_MAPS, SECRETS } from './kubernetes/object.ts'
import { createRecorder } from './kubernetes/recorder.ts'
import { type Controller, type ControllerOptions, runController } from './loop/controller.ts'
import { DEFAULT_LIMITS } from './postgres/connect.ts'
import { Connections } from './postgres/connections.ts'
import { readMigrations } from './postgres/migrations.ts'
import { createLogins } from './routing/credentials.ts'
import { RoutingPublisher } from './routing/publish.ts'
import type { Settings } from './settings.ts'
import { ADMIN_LOGINS } from './shard/admin-login.ts'
import { sharersOf } from './shard/budget.ts'
import { reconcileShard, type ShardContext } from './shard/reconcile.ts'
import { followScale, type Scale } from './shard/scale.ts'
import { Settling } from './shard/settling.ts'
import { openStores, type Stores } from './stores.ts'
import { laneOf } from './tenant/home.ts'
import { readKeys } from './tenant/keys.ts'
import { LastWrites } from './tenant/last-writes.ts'
import { Occupancy } from './tenant/occupancy.ts'
import { reconcileTenant, type TenantContext } from './tenant/reconcile.ts'
import { routeInStatus } from './tenant/route.ts'
import { sampleTenant } from './tenant/usage.ts'
import { Wake } from './wake.ts'

/** What the work is done with; what has to be closed at its end goes onto `opened`. */
export type WorkOptions = { settings: Settings; client: Client; opened: AsyncDisposableStack; log: ProcessLog; signal: AbortSignal }

/** What a running operator shows of itself. */
export type Work = {
  /** Tenants by phase. */
  phases: () => ReadonlyMap<string, number>
  /** Milliseconds since each watch last gave a sign of life, by resource. */
  watchAges: () => ReadonlyMap<string, number>
  /** Which passes have not ended when they had to, in words. */
  stuck: () => string[]
  /** Resolves when all passes have ended, after `signal` aborted. */
  done: Promise<unknown>
}

/** What all controllers work with. */
type Shared = Pick<WorkOptions, 'settings' | 'signal'> & {
  stores: Stores
  occupancy: Occupancy
  tools: Pick<
    ShardContext & TenantContext,
    'client' | 'namespace' | 'installation' | 'connections' | 'routing' | 'recorder' | 'migrations' | 'log'
  >
}

/** What stays in the namespace as long as a Tenant or Shard does. */
const HELD = [[CONFIG_MAPS, INSTALLATION] as const, [SECRETS, ADMIN_LOGINS] as const]

/** Takes up the work of the one replica that holds the Lease: sees what there is, makes it so, and goes on until `signal` aborts. */
export async function startWork(options: WorkOptions): Promise<Work> {
  const { settings, client, opened, log, signal } = options
  const { namespace, relistMs } = settings
  let wake: Wake | undefined
  const watched = { client, namespace, relistMs, signal, log }
  const stores = openStores(watched, () => wake?.changes)
  const connections = new Connections({
    limits: { ...DEFAULT_LIMITS, connections: settings.connectionsPerShard },
    onDown: (shard) => wake?.shardDown(shard),
    onUp: (shard) => wake?.shardUp(shard),
  })
  opened.adopt(connections, (open) => open.close())
  const recorder = createRecorder(client, 'tenantry-operator', { log })
  const routing = new RoutingPublisher({ client, namespace, recorder, log })
  const migrations = await readMigrations(settings.migrationsFolder)
  await Promise.all(Object.values(stores).map((store) => store.synced))
  for (const secret of [CREDENTIALS_SECRET, ADMIN_LOGINS]) await createLogins({ client, namespace, secret, signal })
  const installation = await readInstallation(client, namespace, signal)
  const scale = await followScale({
    ...{ ...watched, name: settings.runtimeDeployment, otherwise: settings.runtimeReplicas },
    before: () => Math.max(0, ...stores.shards.list().map(({ status }) => status?.connections?.replicas ?? 0)),
    onChange: () => wake?.shards(),
  })
  const routes = stores.tenants.list().flatMap((tenant) => routeInStatus(tenant, keysIn(stores)(tenant.metadata.uid), Date.now()))
  await routing.start(stores.configmaps.list(), routes)

  const occupancy = new Occupancy(stores.tenants)
  const writes = new LastWrites()
  const tools = { client, namespace, installation, connections, routing, recorder, migrations, log }
  const shared: Shared = { settings, signal, stores, occupancy, tools }
  const shards = runShards(shared, scale)
  const { tenants, samples } = runTenants(shared, writes)
  const isUsed = () => stores.tenants.list().length + stores.shards.list().length > 0
  const noteUse = markNamespace({ client, namespace, isUsed, held: HELD, signal, log })
  noteUse()
  wake = new Wake({ stores, shards, tenants, occupancy, writes, routing, noteUse, signal })
  wake.all()
  return workOf({ ...stores, ...scale.stores }, occupancy, [shards, tenants, samples])
}

function runShards({ settings, signal, stores, occupancy, tools }: Shared, scale: Scale): Controller {
  const context = {
    ...tools,
    isBusy: occupancy.isBusy,
    shard: stores.shards.get,
    settling: new Settling(),
    countTenants: occupancy.count,
  }
  return runController({
    name: 'shard',
    reconcile: (name, pass) => reconcileShard({ ...context, sharers: sharersOf(settings, scale.replicas()) }, name, pass),
    keys: () => stores.shards.list().map(({ metadata }) => metadata.name),
    lane: (name) => name,
    resyncMs: settings.resyncMs,
    signal,
    log: tools.log,
  })
}

function runTenants({ settings, signal, stores, occupancy, tools }: Shared, writes: LastWrites): Record<'tenants' | 'samples', Controller> {
  const context = {
    ...tools,
    tenant: stores.tenants.get,
    tenants: stores.tenants.list,
    shards: stores.shards.list,
    keysOf: keysIn(stores),
    logins: () => stores.logins.get(CREDENTIALS_SECRET),
    occupancy,
    onBreach: settings.onBreach,
    writes,
  }
  const common = { keys: () => stores.tenants.list().map(({ metadata }) => metadata.name), signal, log: tools.log }
  const passes: ControllerOptions = {
    ...common,
    name: 'tenant',
    reconcile: (name, pass, leave) => reconcileTenant({ ...context, leave }, name, pass),
    lane: (name) => laneOf(stores.tenants.get(name)),
    workers: settings.workers,
    resyncMs: settings.resyncMs,
  }
  // Of each Shard's tenants one at a time, which is all that counting may cost the Shard and those that are being made there.
  const samples: ControllerOptions = {
    ...common,
    name: 'usage',
    reconcile: (name, pass) => sampleTenant(context, name, pass),
    lane: (name) => stores.tenants.get(name)?.status?.shard ?? '',
    workers: 1,
    resyncMs: settings.usageMs,
  }
  return { tenants: runController(passes), samples: runController(samples) }
}

function keysIn({ secrets }: Stores): TenantContext['keysOf'] {
  return (uid) => readKeys(secrets.under(uid).values(), uid)
}

function workOf(watched: Record<string, { age: () => number }>, occupancy: Occupancy, controllers: readonly Controller[]): Work {
  const told = ({ key, ms }: { key: string; ms: number }) => `the pass of ${key} has not ended for ${Math.round(ms / 1000)} s`
  return {
    phases: () => occupancy.phases(),
    watchAges: () => new Map(Object.entries(watched).map(([kind, store]) => [kind, store.age()])),
    stuck: () => controllers.flatMap((controller) => controller.stuck().map(told)),
    done: Promise.all(controllers.map(({ done }) => done)),
  }
}
