import { Command } from 'commander'
import { CREDENTIALS_SECRET, ROUTING_LABEL } from '../config/routing.ts'
import { VERSION } from '../config/version.ts'
import { type Client, connect } from './kubernetes/client.ts'
import { INSTALLATION, readInstallation } from './kubernetes/installation.ts'
import { holdLease } from './kubernetes/lease.ts'
import { markNamespace } from './kubernetes/namespace.ts'
import { CONFIG_MAPS, SECRETS, SHARDS, TENANTS } from './kubernetes/object.ts'
import { createRecorder } from './kubernetes/recorder.ts'
import { type Store, watch } from './kubernetes/watch.ts'
import { createLog, type ProcessLog } from './log.ts'
import { type Controller, runController } from './loop/controller.ts'
import { gather } from './loop/gather.ts'
import { countMetrics, type Health, type Sources, serveMetrics } from './metrics.ts'
import { DEFAULT_LIMITS } from './postgres/connect.ts'
import { Connections } from './postgres/connections.ts'
import { readMigrations } from './postgres/migrations.ts'
import { tenantName } from './postgres/names.ts'
import { createLogins, loginIn } from './routing/credentials.ts'
import { RoutingPublisher } from './routing/publish.ts'
import { describeSettings, readSettings, type Settings, SettingsError } from './settings.ts'
import { ADMIN_LOGINS } from './shard/admin-login.ts'
import { sharersOf } from './shard/budget.ts'
import { type Shard, shardMark } from './shard/observe.ts'
import { reconcileShard } from './shard/reconcile.ts'
import { followScale } from './shard/scale.ts'
import { Settling } from './shard/settling.ts'
import { dataUid, laneOf, shardOf, type Tenant } from './tenant/home.ts'
import { KEY_LABEL } from './tenant/keys.ts'
import { LastWrites } from './tenant/last-writes.ts'
import { Occupancy } from './tenant/occupancy.ts'
import { reconcileTenant } from './tenant/reconcile.ts'
import { routeInStatus } from './tenant/route.ts'
import { sampleTenant } from './tenant/usage.ts'

const LEASE = 'tenantry-operator'
/** What stays in the namespace as long as a Tenant or Shard does. */
const HELD = [[CONFIG_MAPS, INSTALLATION] as const, [SECRETS, ADMIN_LOGINS] as const]
/** A watch that has been silent for longer makes the replica unready. */
const STALE_MS = 60_000
/** Changes of how many tenants a Shard has are gathered for so long before its status tells. */
const COUNT_MS = 5_000

/** From the signal to end until the process is ended by force. */
const END_MS = 20_000

/** What a running operator shows of itself. */
type Work = Sources & { stuck: () => string[]; done: Promise<unknown> }

new Command('operator')
  .version(VERSION)
  .description('Makes Tenants and Shards of one namespace so, in Postgres and in the routing config.')
  .addHelpText('after', `\nEnvironment:\n${describeSettings()}`)
  .action(main)
  .parse()

async function main(): Promise<void> {
  let settings: Settings
  try {
    settings = readSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(2)
  }
  const log = createLog(settings.logLevel)
  let code = 1
  try {
    code = await run(settings, log)
  } catch (error) {
    log.error({ err: error }, 'the operator has failed')
  }
  log.flush()
  process.exit(code)
}

/** Runs until a signal ends it or the Lease is lost; what was opened is closed in reverse order. Gives the exit code. */
async function run(settings: Settings, log: ProcessLog): Promise<number> {
  await using opened = new AsyncDisposableStack()
  const stopping = stopOnSignals(log)
  const client = opened.adopt(connect(settings.kubeconfig === undefined ? {} : { kubeconfig: settings.kubeconfig }), (open) => open.close())
  let work: Work | undefined
  const metrics = opened.adopt(
    countMetrics({ phases: () => work?.phases() ?? new Map(), watchAges: () => work?.watchAges() ?? new Map() }),
    (counted) => counted.stop(),
  )
  const health: Health = { alive: () => work?.stuck() ?? [], ready: () => staleWatches(work) }
  const server = opened.adopt(await serveMetrics(settings.metricsPort, metrics, health), (served) => served.stop())
  log.info({ port: server.port, namespace: settings.namespace, identity: settings.identity }, 'listening')

  const lease = await holdLease({
    client,
    namespace: settings.namespace,
    name: LEASE,
    identity: settings.identity,
    standIn: { resource: CONFIG_MAPS, name: INSTALLATION },
    signal: stopping,
    log,
  }).catch(() => undefined)
  if (lease === undefined) return 0
  opened.defer(() => lease.release())
  const signal = AbortSignal.any([stopping, lease.lost])
  // Whatever still holds on then (a statement without an answer) must not outlive the Lease by much.
  signal.addEventListener('abort', () => setTimeout(() => process.exit(1), END_MS).unref())
  try {
    work = await startWork(settings, client, opened, log, signal)
    await work.done
  } catch (error) {
    if (!signal.aborted) throw error
  }
  if (lease.lost.aborted) log.error({ err: lease.lost.reason }, 'the lease is lost; another replica works on')
  return lease.lost.aborted ? 1 : 0
}

async function startWork(
  settings: Settings,
  client: Client,
  opened: AsyncDisposableStack,
  log: ProcessLog,
  signal: AbortSignal,
): Promise<Work> {
  const { namespace, workers, resyncMs, relistMs, usageMs } = settings
  const migrations = await readMigrations(settings.migrationsFolder)
  const recorder = createRecorder(client, 'tenantry-operator', { log })
  const routing = new RoutingPublisher({ client, namespace, recorder, log })
  const watched = { relistMs, signal, log }
  let started: { shards: Controller; tenants: Controller } | undefined

  const shards: Store<Shard> = watch(client, SHARDS, namespace, { ...watched, onChange: (name) => onShard(name) })
  const tenants: Store<Tenant> = watch(client, TENANTS, namespace, { ...watched, onChange: (name) => onTenant(name) })
  const keys = watch(client, SECRETS, namespace, { ...watched, labelSelector: KEY_LABEL, onChange: (name) => onKey(name) })
  const logins = watch(client, SECRETS, namespace, {
    ...watched,
    fieldSelector: `metadata.name=${CREDENTIALS_SECRET}`,
    onChange: () => enqueueTenants(lacksLogin),
  })
  const documents = watch(client, CONFIG_MAPS, namespace, {
    ...watched,
    labelSelector: ROUTING_LABEL,
    onChange: (name) => started && routing.observe(name, documents.get(name)),
  })
  const stores = { shards, tenants, secrets: keys, logins, configmaps: documents }
  const occupancy = new Occupancy(() => tenants.list())
  const writes = new LastWrites()
  const connections = new Connections({
    limits: { ...DEFAULT_LIMITS, connections: settings.connectionsPerShard },
    onDown: (shard) => started?.shards.enqueue(shard),
    onUp: (shard) => enqueueTenants((tenant) => shardOf(tenant) === shard),
  })
  opened.adopt(connections, (open) => open.close())
  const countSoon = gather(COUNT_MS, signal, (shard) => {
    if (
      shards.get(shard)?.metadata.deletionTimestamp !== undefined ||
      shards.get(shard)?.status?.tenants !== (occupancy.count().get(shard) ?? 0)
    )
      started?.shards.enqueue(shard)
  })

  function enqueueShards(): void {
    for (const { metadata } of shards.list()) started?.shards.enqueue(metadata.name)
  }

  function enqueueTenants(which: (tenant: Tenant) => boolean): void {
    for (const tenant of tenants.list()) if (which(tenant)) started?.tenants.enqueue(tenant.metadata.name)
  }

  function lacksLogin(tenant: Tenant): boolean {
    return tenant.status?.isolation === 'database' && loginIn(logins.get(CREDENTIALS_SECRET), tenantName(dataUid(tenant))) === undefined
  }

  const isUsed = () => tenants.list().length + shards.list().length > 0
  const mark = markNamespace({ client, namespace, isUsed, held: HELD, signal, log })
  const noteUse = () => started && mark()
  const shardMarks = new Map<string, string>()

  // The count of tenants is our own and changes with each of them: what waits for a Shard is not woken by it.
  function onShard(name: string): void {
    noteUse()
    const mark = shardMark(shards.get(name))
    if (mark === shardMarks.get(name)) return
    shardMarks.set(name, mark)
    started?.shards.enqueue(name)
    enqueueTenants((tenant) => (shardOf(tenant) ?? name) === name && tenant.status?.phase !== 'Ready')
  }

  function onTenant(name: string): void {
    noteUse()
    const tenant = tenants.get(name)
    started?.tenants.enqueue(name, 'change', () => tenant === undefined || !writes.isSettled(tenant.metadata))
    const shard = tenant && shardOf(tenant)
    for (const one of shard === undefined ? shards.list().map(({ metadata }) => metadata.name) : [shard]) countSoon(one)
  }

  function onKey(name: string): void {
    const metadata = keys.get(name)?.metadata
    const owner = metadata?.ownerReferences?.[0]?.name ?? name.split('-apikey-')[0]
    if (owner !== undefined) started?.tenants.enqueue(owner, 'change', () => metadata === undefined || !writes.isSettled(metadata))
  }

  await Promise.all(Object.values(stores).map((store) => store.synced))
  for (const secret of [CREDENTIALS_SECRET, ADMIN_LOGINS]) await createLogins({ client, namespace, secret, signal })
  const installation = await readInstallation(client, namespace, signal)
  const scale = await followScale({
    ...{ ...watched, client, namespace, name: settings.runtimeDeployment, otherwise: settings.runtimeReplicas },
    before: () => Math.max(0, ...shards.list().map(({ status }) => status?.connections?.replicas ?? 0)),
    onChange: () => enqueueShards(),
  })
  await routing.start(
    documents.list(),
    tenants.list().flatMap((tenant) => routeInStatus(tenant, keys.list(), Date.now())),
  )
  const shared = { client, namespace, installation, connections, routing, recorder, migrations, log }
  const settling = new Settling()
  const forTenants = {
    ...shared,
    tenant: tenants.get,
    tenants: tenants.list,
    shards: shards.list,
    keySecrets: keys.list,
    logins: () => logins.get(CREDENTIALS_SECRET),
    occupancy,
    onBreach: settings.onBreach,
    writes,
  }
  const tenantNames = () => tenants.list().map(({ metadata }) => metadata.name)
  started = {
    shards: runController({
      name: 'shard',
      reconcile: (name, pass) =>
        reconcileShard(
          {
            ...shared,
            isBusy: occupancy.isBusy,
            shard: shards.get,
            sharers: sharersOf(settings, scale.replicas()),
            settling,
            countTenants: (shard) => occupancy.count().get(shard) ?? 0,
          },
          name,
          pass,
        ),
      keys: () => shards.list().map(({ metadata }) => metadata.name),
      lane: (name) => name,
      resyncMs,
      signal,
      log,
    }),
    tenants: runController({
      name: 'tenant',
      reconcile: (name, pass) => reconcileTenant(forTenants, name, pass),
      keys: tenantNames,
      lane: (name) => laneOf(tenants.get(name)),
      workers,
      resyncMs,
      signal,
      log,
    }),
  }
  noteUse()
  // Of each Shard's tenants one at a time, which is all that counting may cost the Shard and those that are being made there.
  const samples = runController({
    name: 'usage',
    reconcile: (name, pass) => sampleTenant(forTenants, name, pass),
    keys: tenantNames,
    lane: (name) => tenants.get(name)?.status?.shard ?? '',
    workers: 1,
    resyncMs: usageMs,
    signal,
    log,
  })
  enqueueShards()
  for (const { metadata } of tenants.list()) started.tenants.enqueue(metadata.name, 'resync')
  const { shards: shardPasses, tenants: tenantPasses } = started
  return {
    phases: () => occupancy.phases(),
    watchAges: () => new Map(Object.entries({ ...stores, ...scale.stores }).map(([kind, store]) => [kind, store.age()])),
    stuck: () =>
      [...shardPasses.stuck(), ...tenantPasses.stuck(), ...samples.stuck()].map(
        ({ key, ms }) => `the pass of ${key} has not ended for ${Math.round(ms / 1000)} s`,
      ),
    done: Promise.all([shardPasses.done, tenantPasses.done, samples.done]),
  }
}

function staleWatches(work: Work | undefined): string[] {
  return [...(work?.watchAges() ?? [])]
    .filter(([, ms]) => ms > STALE_MS)
    .map(([kind, ms]) => `nothing heard of ${kind} for ${Math.round(ms / 1000)} s`)
}

function stopOnSignals(log: ProcessLog): AbortSignal {
  const stopping = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      log.info({ signal: name }, 'the operator ends')
      stopping.abort(new Error(name))
    })
  }
  return stopping.signal
}
