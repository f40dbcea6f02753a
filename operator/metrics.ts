import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { VERSION } from '../config/version.ts'
import type { Work } from './work.ts'

/** Whether the process is alive, and whether it is ready; the texts say what is wrong, none: nothing. */
export type Health = { alive: () => string[]; ready: () => string[] }

/** The operator's metrics, as Prometheus reads them. */
export type Metrics = { registry: Registry; stop: () => void }

/** Counts what the work announces on its channels, and looks at it when the metrics are read, until stopped. */
export function countMetrics({ phases, watchAges }: Pick<Work, 'phases' | 'watchAges'>): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const durations = new Histogram({
    name: 'tenantry_reconcile_duration_seconds',
    help: 'Passes by kind and result',
    labelNames: ['kind', 'result'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120],
    registers,
  })
  const build = new Gauge({ name: 'tenantry_build_info', help: 'Always 1; the version of the program', labelNames: ['version'], registers })
  build.set({ version: VERSION }, 1)
  const depth = new Gauge({ name: 'tenantry_workqueue_depth', help: 'Keys that wait for a free place', labelNames: ['kind'], registers })
  const leader = new Gauge({ name: 'tenantry_leader', help: '1 while this replica holds the Lease', registers })
  const restarts = new Counter({
    name: 'tenantry_watch_restarts_total',
    help: 'Watches that failed and were resumed',
    labelNames: ['kind', 'reason'],
    registers,
  })
  const breaches = new Counter({
    name: 'tenantry_isolation_breaches_total',
    help: "Tenants' walls that were found down",
    labelNames: ['isolation', 'reason'],
    registers,
  })
  new Gauge({
    name: 'tenantry_tenants',
    help: 'Tenants by phase',
    labelNames: ['phase'],
    registers,
    collect() {
      this.reset()
      for (const [phase, tenants] of phases()) this.set({ phase }, tenants)
    },
  })
  new Gauge({
    name: 'tenantry_watch_age_seconds',
    help: 'Time since the API server last gave a sign of life for a watch',
    labelNames: ['kind'],
    registers,
    collect() {
      for (const [kind, ms] of watchAges()) this.set({ kind }, ms / 1000)
    },
  })
  const stops = [
    listen<{ controller: string; result: string; durationMs: number }>('tenantry:reconcile', ({ controller, result, durationMs }) =>
      durations.observe({ kind: controller, result }, durationMs / 1000),
    ),
    listen<{ controller: string; depth: number }>('tenantry:workqueue', (queue) => depth.set({ kind: queue.controller }, queue.depth)),
    listen<{ isolation: string; reason: string }>('tenantry:breach', (breach) => breaches.inc(breach)),
    listen<{ leading: boolean }>('tenantry:leader', ({ leading }) => leader.set(leading ? 1 : 0)),
    listen<{ resource: string; event: string; reason: string }>('tenantry:watch', ({ resource, event, reason }) => {
      if (event === 'restarted') restarts.inc({ kind: resource, reason })
    }),
  ]
  return {
    registry,
    stop: () => {
      for (const stop of stops) stop()
    },
  }
}

/** Serves /metrics, /health and /health/ready. Gives the port and how to stop. */
export async function serveMetrics(
  port: number,
  { registry }: Metrics,
  health: Health,
): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.url === '/metrics' || request.url === '/') {
      registry.metrics().then(
        (text) => answer(response, 200, registry.contentType, text),
        () => answer(response, 500, 'text/plain', 'the metrics could not be read\n'),
      )
    } else if (request.url === '/health') tell(response, health.alive())
    else if (request.url === '/health/ready') tell(response, health.ready())
    else answer(response, 404, 'text/plain', 'try /metrics, /health or /health/ready\n')
  })
  server.listen(port)
  await once(server, 'listening')
  const stop = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { port: portOf(server.address()), stop }
}

function tell(response: ServerResponse, faults: readonly string[]): void {
  answer(
    response,
    faults.length === 0 ? 200 : 503,
    'application/json',
    `${JSON.stringify({ ok: faults.length === 0, version: VERSION, faults })}\n`,
  )
}

function answer(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type })
  response.end(body)
}

function portOf(address: AddressInfo | string | null): number {
  return address !== null && typeof address === 'object' ? address.port : 0
}

function listen<M>(name: string, take: (message: M) => void): () => void {
  const onMessage = (message: unknown) => take(message as M)
  subscribe(name, onMessage)
  return () => unsubscribe(name, onMessage)
}
