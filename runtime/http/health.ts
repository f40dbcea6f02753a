import type { RequestHandler } from 'express'
import type { Exchange } from './exchange.ts'

/** What readiness is made of. */
export type Health = {
  /** False while the process is on its way out. */
  accepting: () => boolean
  /** True once the routing config was read. */
  routingLoaded: () => boolean
  /** True when at least one Shard answers. */
  shardReachable: () => Promise<boolean>
}

type Enter = (request: Parameters<RequestHandler>[0]) => Exchange

/** `/health`: the process answers. Looks at nothing else, since a restart mends no database. */
export function liveness(enter: Enter): RequestHandler {
  return (request) => {
    const exchange = enter(request)
    exchange.route = '/health'
    exchange.reply(200, { 'content-type': 'application/json' }, '{"status":"ok"}')
  }
}

/** `/health/ready`: 200 when requests may be sent here, else 503 with the parts that are not ready. */
export function readiness(health: Health, enter: Enter): RequestHandler {
  return async (request) => {
    const exchange = enter(request)
    exchange.route = '/health/ready'
    const checks = {
      accepting: health.accepting(),
      routing: health.routingLoaded(),
      shards: health.routingLoaded() && (await health.shardReachable()),
    }
    const ready = checks.accepting && checks.routing && checks.shards
    const body = JSON.stringify({ status: ready ? 'ready' : 'not-ready', checks })
    exchange.reply(ready ? 200 : 503, ready ? JSON_TYPE : { ...JSON_TYPE, 'retry-after': '1' }, body)
  }
}

const JSON_TYPE = { 'content-type': 'application/json' }
