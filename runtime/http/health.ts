import type { RequestHandler } from 'express'
import { z } from 'zod'
import type { Exchange } from './exchange.ts'
import { type Endpoint, publicOperation } from './openapi/operation.ts'

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

const aliveSchema = z.strictObject({ status: z.literal('ok') }).meta({ title: 'Health' })

const readySchema = z
  .strictObject({
    status: z.enum(['ready', 'not-ready']),
    checks: z.strictObject({ accepting: z.boolean(), routing: z.boolean(), shards: z.boolean() }),
  })
  .meta({ title: 'Readiness' })

const JSON_TYPE = { type: 'application/json' } as const

const LIVENESS = publicOperation('Liveness', '/health', 'Whether the process answers', [
  { status: 200, description: 'It does.', ...JSON_TYPE, schema: aliveSchema },
])

const READINESS = publicOperation('Readiness', '/health/ready', 'Whether requests may be sent here', [
  { status: 200, description: 'They may.', ...JSON_TYPE, schema: readySchema },
  { status: 503, description: 'Not at the moment: the parts that are false are not ready.', ...JSON_TYPE, schema: readySchema },
])

/** What probes ask. */
export function healthEndpoints(health: Health, enter: Enter): Endpoint[] {
  return [
    { operation: LIVENESS, handlers: [liveness(enter)] },
    { operation: READINESS, handlers: [readiness(health, enter)] },
  ]
}

/** The process answers. Looks at nothing else, since a restart mends no database. */
function liveness(enter: Enter): RequestHandler {
  return (request) => {
    const exchange = enter(request)
    exchange.route = LIVENESS.path
    exchange.reply(200, CONTENT_TYPE, '{"status":"ok"}')
  }
}

/** 200 when requests may be sent here, else 503 with the parts that are not ready. */
function readiness(health: Health, enter: Enter): RequestHandler {
  return async (request) => {
    const exchange = enter(request)
    exchange.route = READINESS.path
    const checks = {
      accepting: health.accepting(),
      routing: health.routingLoaded(),
      shards: health.routingLoaded() && (await health.shardReachable()),
    }
    const ready = checks.accepting && checks.routing && checks.shards
    const body = JSON.stringify({ status: ready ? 'ready' : 'not-ready', checks })
    exchange.reply(ready ? 200 : 503, ready ? CONTENT_TYPE : { ...CONTENT_TYPE, 'retry-after': '1' }, body)
  }
}

const CONTENT_TYPE = { 'content-type': 'application/json' }
