import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import { createLog, type Log } from '../config/log.ts'
import { SettingsError } from '../config/settings.ts'
import { VERSION } from '../config/version.ts'
import { createSharedBucket } from './cache/bucket.ts'
import { connectRedis, type RedisConnection } from './cache/connection.ts'
import { createSharedCache } from './cache/redis.ts'
import { type Cache, createCache } from './cache/tiers.ts'
import { createCommandBus } from './commands/bus.ts'
import { createAudit } from './events/audit.ts'
import { purgeDeparted } from './events/departed.ts'
import { Jetstream } from './events/jetstream.ts'
import { Relay } from './events/relay.ts'
import { followEvents } from './events/stream.ts'
import { Timelines } from './events/timelines.ts'
import { audit } from './features/audit/index.ts'
import { exportOf } from './features/export/index.ts'
import type { Feature } from './features/feature.ts'
import { tasks } from './features/tasks/index.ts'
import { tenant } from './features/tenant/index.ts'
import { users } from './features/users/index.ts'
import { type Api, serveApi } from './http/server.ts'
import { createFindTenant } from './identity/find-tenant.ts'
import { createIsGateway } from './identity/gateway.ts'
import { createMayAsk } from './identity/origins.ts'
import { createVerifyToken } from './identity/verify.ts'
import { createLimiter, type Limiter } from './limits/limiter.ts'
import { serveMetrics } from './metrics.ts'
import { catchUp } from './projections/catch-up.ts'
import { Projector } from './projections/projector.ts'
import { createQueryBus } from './queries/bus.ts'
import { createRead } from './queries/read.ts'
import { createStreamBus } from './queries/stream.ts'
import { eventRetention } from './retention/events.ts'
import { sweepTenants } from './retention/sweep.ts'
import { clusterSource } from './routing/cluster.ts'
import { folderSource } from './routing/folder.ts'
import { followRouting, type Routing } from './routing/routing.ts'
import { describeSettings, readSettings, type Settings } from './settings.ts'
import { DEFAULT_SESSION } from './shards/endpoint.ts'
import { createSession, type Session, type Tenant } from './shards/session.ts'

const DATA: readonly Feature[] = [tasks, users, tenant, audit]
const FEATURES: readonly Feature[] = [...DATA, exportOf(DATA)]
const PROJECTIONS = FEATURES.flatMap((feature) => feature.projections)

const STREAM = { stream: 'TENANTRY', prefix: 'tenantry' }

/** The programs' exit codes: 0 drained, 1 failed, 2 the settings cannot be used. */
async function main(): Promise<void> {
  new Command('runtime')
    .version(VERSION)
    .description('Serves the API of the tenants that the routing config names.')
    .addHelpText('after', `\nSettings (environment):\n${describeSettings()}\n`)
    .allowExcessArguments(false)
    .parse()
  const settings = settingsOrExit()
  const log = createLog('runtime', settings.logLevel)
  process.on('uncaughtException', (error) => {
    log.error({ error }, 'the process ends: an error that nobody expected')
    log.flush()
    process.exit(1)
  })
  try {
    await run(settings, log)
    log.info({}, 'drained')
  } catch (error) {
    log.error({ error }, 'the runtime has failed')
    process.exitCode = 1
  }
  log.flush()
  process.exit()
}

function settingsOrExit(): Settings {
  try {
    return readSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(2)
  }
}

/** Serves until a signal, then drains. What was started is released in reverse, also when the start fails half way. */
async function run(settings: Settings, log: Log): Promise<void> {
  const signalled = nextSignal()
  let accepting = true
  await using held = new AsyncDisposableStack()
  const api = await start(settings, log, held, () => accepting)
  log.info({ port: api.port }, 'listening')
  const signal = await signalled
  log.info({ signal }, 'draining')
  accepting = false
  api.dismiss()
  await sleep(settings.drainWait)
  await api.close(settings.drainDeadline)
}

async function start(settings: Settings, log: Log, held: AsyncDisposableStack, accepting: () => boolean): Promise<Api> {
  // First, since breakers and pools tell their state once when they are made.
  let routing: Routing | undefined
  const routingAgeSeconds = () => routing?.ageSeconds() ?? Number.POSITIVE_INFINITY
  const metrics = await serveMetrics({ routingAgeSeconds, tenants: settings.metricsTenants }, settings.metricsPort)
  held.defer(() => metrics.close())
  log.info({ port: metrics.port }, 'metrics')
  routing = follow(settings, log)
  held.adopt(routing, (opened) => opened.close())
  const session = openSession(settings, routing, log)
  held.defer(() => session.close())
  const redis = openRedis(settings, log, held)
  const cache = settings.cache ? createCache(redis && createSharedCache(redis)) : undefined
  const limiter = settings.limits ? createLimiter(redis && createSharedBucket(redis)) : undefined
  const wake = openEvents(settings, { routing, session, cache, log }, held)
  return openApi(settings, { routing, session, cache, limiter, wake, accepting, log }, held)
}

function follow({ routing }: Settings, log: Log): Routing {
  return followRouting(routing.kind === 'folder' ? folderSource(routing, log) : clusterSource(routing, log), log)
}

function openSession(settings: Settings, routing: Routing, log: Log): Session {
  const shardOf = (name: string) => routing.table().shards.get(name)
  // Reads and commands gain nothing beyond a few shared connections; relay and projections each hold up to two of the others.
  const interactive = Math.max(1, Math.floor(settings.connectionsPerShard / 2))
  const pipelined = Math.max(1, settings.connectionsPerShard - interactive)
  return createSession({
    endpoint: shardOf,
    credentials: (name) => shardOf(name)?.credentials,
    login: (role) => routing.table().logins.get(role),
    settings: {
      ...DEFAULT_SESSION,
      pipelined,
      interactive,
      databases: settings.databaseConnections,
      ...(settings.pooler === 'none' ? {} : { prepared: 0 }),
    },
    log,
  })
}

function openRedis({ redisUrl }: Settings, log: Log, held: AsyncDisposableStack): RedisConnection | undefined {
  if (redisUrl === undefined) return undefined
  const redis = connectRedis(redisUrl, log)
  held.defer(() => redis.close())
  return redis
}

type Parts = { routing: Routing; session: Session; cache: Cache | undefined; log: Log }

/** Relays and projects events. Gives what wakes the relay after a commit. */
function openEvents({ natsUrl }: Settings, { routing, session, cache, log }: Parts, held: AsyncDisposableStack): (uid: string) => void {
  if (natsUrl === undefined) return () => undefined
  const jetstream = new Jetstream({ ...STREAM, url: natsUrl, log })
  held.defer(() => jetstream.close())
  if (cache !== undefined) {
    followEvents(jetstream, {
      onEvent: (event) => cache.raise(event.tenantUid, staleKeys(event), event.position),
      onGap: () => cache.forget(),
    })
  }
  const isKnown = (uid: string) => (routing.loaded() ? routing.table().byUid.has(uid) : undefined)
  held.defer(purgeDeparted({ jetstream, isKnown, log }))
  const shared = {
    session,
    jetstream,
    shards: () => routing.table().shards.keys(),
    route: (uid: string) => tenantOf(routing, uid),
    apart: () => tenantsApart(routing),
    log,
  }
  const projector = new Projector({ ...shared, projections: PROJECTIONS })
  held.defer(() => projector.stop())
  const timelines = new Timelines({
    ...shared,
    shards: () => (routing.loaded() ? routing.table().shards.keys() : []),
    tenants: () => tenantsOf(routing),
    settle: async (tenant) => {
      for (const projection of PROJECTIONS) await catchUp(session, projection, tenant, Number.POSITIVE_INFINITY)
    },
    onRewind: (agoMs) => cache?.rewind(agoMs),
  })
  held.defer(() => timelines.stop())
  const relay = new Relay({ ...shared, prefix: STREAM.prefix, timeline: (tenant) => timelines.of(tenant) })
  held.defer(() => relay.stop())
  return (uid) => relay.wake(uid)
}

type ApiParts = Parts & { limiter: Limiter | undefined; wake: (uid: string) => void; accepting: () => boolean }

async function openApi(settings: Settings, parts: ApiParts, held: AsyncDisposableStack): Promise<Api> {
  const { routing, session, cache, limiter, wake, accepting, log } = parts
  const commands = createCommandBus({
    session,
    commands: FEATURES.flatMap((feature) => feature.commands),
    references: FEATURES.flatMap((feature) => feature.references ?? []),
    onCommit: ({ uid }, events) => {
      for (const event of events) cache?.raise(uid, staleKeys(event), event.position)
      wake(uid)
    },
  })
  const retentions = [...FEATURES.flatMap((feature) => feature.retentions ?? []), eventRetention(PROJECTIONS)]
  held.defer(sweepTenants({ session, commands, retentions, tenants: () => tenantsOf(routing), log }))
  const notes = createAudit(session)
  const queries = createQueryBus(
    FEATURES.flatMap((feature) => feature.queries),
    createRead(session, cache),
    notes,
  )
  const streams = createStreamBus(
    FEATURES.flatMap((feature) => feature.streams ?? []),
    session,
    notes,
  )
  const health = {
    accepting,
    routingLoaded: () => routing.loaded() && !routing.table().waits,
    shardReachable: () => anyReachable(routing, session),
  }
  const names = { directory: routing, baseDomain: settings.baseDomain, isGateway: createIsGateway(settings.gatewayAddresses) }
  const findTenant = createFindTenant({ ...names, verifyToken: createVerifyToken(log) })
  const mayAsk = createMayAsk(names)
  const { bodyLimit, requestDeadline, accessLog } = settings
  const api = await serveApi(
    { features: FEATURES, commands, queries, streams, findTenant, mayAsk, limiter, health, bodyLimit, requestDeadline, accessLog, log },
    settings.port,
  )
  held.defer(() => api.close(0))
  return api
}

function staleKeys(event: Parameters<Feature['invalidates']>[0]): string[] {
  return FEATURES.flatMap((feature) => feature.invalidates(event))
}

function tenantOf(routing: Routing, uid: string): Tenant | undefined {
  const route = routing.table().byUid.get(uid)
  return route === undefined ? undefined : { uid, route }
}

function tenantsOf(routing: Routing): Tenant[] {
  return [...routing.table().byUid.values()].map((route) => ({ uid: route.uid, route }))
}

function tenantsApart(routing: Routing): Tenant[] {
  return tenantsOf(routing).filter(({ route }) => route.isolation === 'database')
}

/** True as soon as one Shard answers: one that hangs does not hold the answer up. */
async function anyReachable(routing: Routing, session: Session): Promise<boolean> {
  const probes = [...routing.table().shards.keys()].map(async (shard) => {
    if (!(await session.reachable(shard))) throw new Error('not reachable')
  })
  return Promise.any(probes).then(
    () => true,
    () => false,
  )
}

/** The first SIGTERM or SIGINT; the second ends the process on the spot. */
function nextSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT']) {
      process.once(signal, () => {
        resolve(signal)
        process.once(signal, () => process.exit(1))
      })
    }
  })
}

await main()
