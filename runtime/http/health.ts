import { z } from 'zod'
import { VERSION } from '../../config/version.ts'
import { type Endpoint, type Handler, publicOperation } from './openapi/operation.ts'

/** What readiness is made of. */
export type Health = {
  /** False while the process is on its way out. */
  accepting: () => boolean
  /** True once the routing config was read. */
  routingLoaded: () => boolean
  /** True when at least one Shard answers. */
  shardReachable: () => Promise<boolean>
}

const aliveSchema = z.strictObject({ status: z.literal('ok'), version: z.string() }).meta({ title: 'Health' })

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
export function healthEndpoints(health: Health): Endpoint[] {
  return [
    { operation: LIVENESS, handle: liveness },
    { operation: READINESS, handle: readiness(health) },
  ]
}

const ALIVE = JSON.stringify({ status: 'ok', version: VERSION })

/** The process answers. Looks at nothing else, since a restart mends no database. */
const liveness: Handler = (exchange) => exchange.reply(200, CONTENT_TYPE, ALIVE)

/** 200 when requests may be sent here, else 503 with the parts that are not ready. */
function readiness(health: Health): Handler {
  return async (exchange) => {
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
