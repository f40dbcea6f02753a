import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { VERSION } from '../config/version.ts'
import { Busiest } from './busiest.ts'

/** The metrics as they are offered, on a port of their own. */
export type Metrics = { port: number; close: () => Promise<void> }

/** What can only be asked for when somebody reads the metrics, and of how many tenants they tell by name. */
export type MetricSources = { routingAgeSeconds: () => number; tenants: number }

/** Counts what the program announces on its diagnostics channels and offers it to Prometheus at `/metrics`, and at `/` too for who types the bare address. Throws when the port is taken. */
export async function serveMetrics(sources: MetricSources, port: number): Promise<Metrics> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const stops = [count(registry, sources), ...(sources.tenants === 0 ? [] : [countTenants(registry, sources.tenants)])]
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || (request.url !== '/metrics' && request.url !== '/')) {
      response.writeHead(404).end()
      return
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    )
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, () => resolve()))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close: () => {
      for (const stop of stops) stop()
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function count(registry: Registry, sources: MetricSources): () => void {
  const registers = [registry]
  const duration = new Histogram({
    name: 'tenantry_http_request_duration_seconds',
    help: 'Time from the first byte of a request to the last of its answer.',
    labelNames: ['route', 'method', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  })
  const build = new Gauge({
    name: 'tenantry_build_info',
    help: 'Always 1; the version of the program.',
    labelNames: ['version'],
    registers,
  })
  build.set({ version: VERSION }, 1)
  const inFlight = new Gauge({ name: 'tenantry_http_in_flight', help: 'Requests that wait for their answer.', registers })
  const breaker = new Gauge({
    name: 'tenantry_breaker_state',
    help: '0 closed, 1 half-open, 2 open.',
    labelNames: ['dependency'],
    registers,
  })
  const cache = new Counter({
    name: 'tenantry_cache_requests_total',
    help: 'Look-ups by cache level (l1 in the process, l2 in Redis).',
    labelNames: ['level', 'result'],
    registers,
  })
  const pool = new Gauge({
    name: 'tenantry_pool_connections',
    help: 'Server connections by Shard and state.',
    labelNames: ['shard', 'state'],
    registers,
  })
  const outbox = new Gauge({
    name: 'tenantry_outbox_lag_seconds',
    help: 'Age of the oldest event not yet published.',
    labelNames: ['shard'],
    registers,
  })
  const projection = new Gauge({
    name: 'tenantry_projection_lag_events',
    help: 'Events a projection has yet to apply.',
    labelNames: ['projection', 'shard'],
    registers,
  })
  const routingFaults = new Counter({
    name: 'tenantry_routing_faults_total',
    help: 'Routing documents that could not be used; the last good one stayed in force. Reason: newer than this program reads, or invalid.',
    labelNames: ['document', 'reason'],
    registers,
  })
  new Gauge({
    name: 'tenantry_routing_age_seconds',
    help: 'Time since the routing table was last known to be current.',
    registers,
    collect() {
      this.set(sources.routingAgeSeconds())
    },
  })
  const durations = new Map<unknown, Map<unknown, Map<unknown, Histogram.Internal<'route' | 'method' | 'status'>>>>()
  // To find the labels' counters anew for each request, or to make one key of the three, would cost a hundredth of the request.
  const durationOf = (route: unknown, method: unknown, status: unknown) => {
    const byMethod = found(durations, route, () => new Map())
    const byStatus = found(byMethod, method, () => new Map())
    return found(byStatus, status, () => duration.labels({ route: text(route), method: text(method), status: text(status) }))
  }
  return subscribeAll({
    'tenantry:http.begin': () => inFlight.inc(),
    'tenantry:http.end': ({ route, method, status, seconds }) => {
      inFlight.dec()
      durationOf(route, method, status).observe(Number(seconds))
    },
    'tenantry:breaker': ({ dependency, state }) => breaker.set({ dependency: text(dependency) }, Number(state)),
    'tenantry:cache': ({ level, result }) => cache.inc({ level: text(level), result: text(result) }),
    'tenantry:pool': ({ shard, state, connections }) => pool.set({ shard: text(shard), state: text(state) }, Number(connections)),
    'tenantry:relay': ({ shard, seconds }) => outbox.set({ shard: text(shard) }, Number(seconds)),
    'tenantry:projection': (lag) => projection.set({ projection: text(lag.projection), shard: text(lag.shard) }, Number(lag.events)),
    'tenantry:routing.fault': ({ document, reason }) => routingFaults.inc({ document: text(document), reason: text(reason) }),
  })
}

function found<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  return made
}

/** Counts the requests of the busiest tenants, by their names. */
function countTenants(registry: Registry, most: number): () => void {
  const busiest = new Busiest(most)
  const registers = [registry]
  new Counter({
    name: 'tenantry_tenant_request_seconds_total',
    help: 'Time that the requests of a tenant took; only of the busiest.',
    labelNames: ['tenant'],
    registers,
    collect() {
      this.reset()
      for (const [tenant, { seconds }] of busiest.list()) this.inc({ tenant }, seconds)
    },
  })
  new Counter({
    name: 'tenantry_tenant_requests_total',
    help: 'Requests of a tenant; only of the busiest.',
    labelNames: ['tenant', 'status'],
    registers,
    collect() {
      this.reset()
      for (const [tenant, { requests }] of busiest.list()) for (const [status, count] of requests) this.inc({ tenant, status }, count)
    },
  })
  return subscribeAll({
    'tenantry:http.end': ({ tenant, status, seconds }) => {
      if (typeof tenant === 'string') busiest.add(tenant, Number(status), Number(seconds))
    },
  })
}

type Announcement = Record<string, unknown>

function subscribeAll(handlers: Record<string, (announcement: Announcement) => void>): () => void {
  const listeners = Object.entries(handlers).map(([name, handle]) => {
    const listener = (message: unknown): void => handle(isRecord(message) ? message : {})
    subscribe(name, listener)
    return { name, listener }
  })
  return () => {
    for (const { name, listener } of listeners) unsubscribe(name, listener)
  }
}

function isRecord(value: unknown): value is Announcement {
  return typeof value === 'object' && value !== null
}

function text(value: unknown): string {
  return String(value)
}
