import { hash, randomUUID, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import express from 'express'
import fastify from 'fastify'
import { LRUCache } from 'lru-cache'
import { Gauge, Histogram } from 'prom-client'

/** An answer of the runtime's: the head without what belongs to a connection, and the body. */
type Answer = { headers: Record<string, string>; body: string }

/** What the peers of `http-stack` answer with: what the runtime has answered on each path, and who may ask. */
export type Recorded = { answers: Record<string, Answer>; keys: Record<string, string> }

// node:http does nothing but send the bytes. The other two do, by hooks of their own kind, what a request of ours goes through: a request
// id, the tenant by its hashed key, host name and X-Tenant-ID, its scope, its rate and what it has under way, an id that is one, the answer
// out of a cache in which entries end, what the client has already, the headers of each answer, a time by which it must be over, and its
// length and duration counted. Nothing is shared with other replicas here: that is more than they do.

const [, , kind = '', file = ''] = process.argv
const { answers, keys }: Recorded = JSON.parse(await readFile(file, 'utf8'))
const byPath = new Map(Object.entries(answers))
const byHash = new Map(Object.entries(keys).map(([sha256, tenant]) => [sha256, { tenant, digest: Buffer.from(sha256, 'hex') }]))
const DEADLINE = 10_000
const TASK = { type: 'object', properties: { id: { type: 'string', format: 'uuid' } } }
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The tenant of a request, or undefined: the same checks as ours. */
function tenantOf(headers: IncomingHttpHeaders): string | undefined {
  const digest = hash('sha256', String(headers['x-api-key'] ?? ''), 'buffer')
  const known = byHash.get(digest.toString('hex'))
  if (known === undefined || !timingSafeEqual(known.digest, digest)) return undefined
  const named = headers['x-tenant-id']
  const [host = ''] = (headers.host ?? '').toLowerCase().split(':')
  if (named !== undefined && named !== known.tenant) return undefined
  return host.endsWith('.localhost') && host !== `${known.tenant}.localhost` ? undefined : known.tenant
}

const SCOPES: ReadonlySet<string> = new Set(['tasks:read'])
const RATE = { perSecond: 1_000_000, burst: 2_000_000, concurrency: 1_000 }
const buckets = new Map<string, { tokens: number; at: number; running: number }>()

/** Takes a token of the tenant and a place among what it has under way; what it then tells the caller, or undefined where there is none. */
function enter(tenant: string): Record<string, string> | undefined {
  const now = performance.now()
  const bucket = buckets.get(tenant) ?? { tokens: RATE.burst, at: now, running: 0 }
  buckets.set(tenant, bucket)
  bucket.tokens = Math.min(RATE.burst, bucket.tokens + ((now - bucket.at) / 1_000) * RATE.perSecond)
  bucket.at = now
  if (!SCOPES.has('tasks:read') || bucket.tokens < 1 || bucket.running >= RATE.concurrency) return undefined
  bucket.tokens -= 1
  bucket.running += 1
  const reset = Math.ceil((RATE.burst - bucket.tokens) / RATE.perSecond)
  return {
    'ratelimit-policy': `"default";q=${RATE.burst};w=${Math.ceil(RATE.burst / RATE.perSecond)}`,
    ratelimit: `"default";r=${Math.floor(bucket.tokens)};t=${reset}`,
  }
}

function leave(tenant: string): void {
  const bucket = buckets.get(tenant)
  if (bucket !== undefined) bucket.running -= 1
}

const cache = new LRUCache<string, Answer>({ max: 10_000, ttl: 600_000 })
for (const [path, answer] of byPath) for (const tenant of Object.values(keys)) cache.set(`${tenant}:${path}`, answer)

const duration = new Histogram({ name: 'duration_seconds', help: 'Of requests.', labelNames: ['route', 'method', 'status'] })
const inFlight = new Gauge({ name: 'in_flight', help: 'Requests.' })

/** A request is over; `tenant`: whose it was, when it was let in. */
function count(tenant: string | undefined, since: number, status: number): void {
  inFlight.dec()
  if (tenant !== undefined) leave(tenant)
  duration.labels({ route: '/v1/tasks/:id', method: 'GET', status: String(status) }).observe((performance.now() - since) / 1_000)
}

function listenBare(): void {
  const server = createServer((request, response) => {
    const answer = byPath.get(request.url ?? '')
    if (answer === undefined) return void response.writeHead(404).end()
    response.writeHead(200, answer.headers).end(answer.body)
  })
  server.listen(0, '127.0.0.1', () => announce(Object(server.address()).port))
}

function listenExpress(): void {
  const app = express()
  app.disable('x-powered-by').set('etag', false)
  app.use((request, response, next) => {
    const since = performance.now()
    inFlight.inc()
    const timer = setTimeout(() => response.destroy(), DEADLINE)
    const tenant = tenantOf(request.headers)
    const limits = tenant === undefined ? undefined : enter(tenant)
    response.on('close', () => {
      clearTimeout(timer)
      count(limits && tenant, since, response.statusCode)
    })
    response.set('x-request-id', request.get('x-request-id') ?? randomUUID())
    if (limits === undefined) return void response.sendStatus(tenant === undefined ? 401 : 429)
    response.locals = { tenant, limits }
    next()
  })
  app.get('/v1/tasks/:id', (request, response) => {
    const { tenant, limits } = response.locals
    if (!UUID.test(request.params.id)) return void response.sendStatus(400)
    const answer = cache.get(`${tenant}:${request.path}`)
    if (answer === undefined) return void response.sendStatus(404)
    response.set(answer.headers).set(limits)
    if (request.get('if-none-match') === answer.headers.etag) response.status(304).end()
    else response.send(answer.body)
  })
  const server = app.listen(0, '127.0.0.1', () => announce(Object(server.address()).port))
}

type Admitted = { since: number; timer: NodeJS.Timeout; tenant: string | undefined; limits: Record<string, string> | undefined }

async function listenFastify(): Promise<void> {
  const app = fastify({ genReqId: ({ headers }) => String(headers['x-request-id'] ?? randomUUID()) })
  const admitted = new WeakMap<object, Admitted>()
  app.addHook('onRequest', async (request, reply) => {
    inFlight.inc()
    const tenant = tenantOf(request.headers)
    const limits = tenant === undefined ? undefined : enter(tenant)
    const timer = setTimeout(() => reply.raw.destroy(), DEADLINE)
    admitted.set(request, { since: performance.now(), timer, tenant, limits })
    if (limits === undefined) return reply.code(tenant === undefined ? 401 : 429).send()
  })
  app.addHook('onResponse', async (request, reply) => {
    const { timer, tenant, limits, since } = admitted.get(request) ?? {}
    clearTimeout(timer)
    count(limits && tenant, since ?? 0, reply.statusCode)
  })
  app.get('/v1/tasks/:id', { schema: { params: TASK } }, async (request, reply) => {
    const { tenant, limits } = admitted.get(request) ?? {}
    const answer = cache.get(`${tenant}:${request.url}`)
    if (answer === undefined) return reply.code(404).send()
    reply
      .headers(answer.headers)
      .headers(limits ?? {})
      .header('x-request-id', request.id)
    return request.headers['if-none-match'] === answer.headers.etag ? reply.code(304).send() : reply.send(answer.body)
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  announce(Number(new URL(address).port))
}

function announce(port: number): void {
  console.log(JSON.stringify({ msg: 'listening', port }))
}

process.once('SIGTERM', () => process.exit(0))
const start = { 'node:http': listenBare, express: listenExpress, fastify: listenFastify }[kind]
if (start === undefined) throw new Error(`no peer is called ${kind}`)
await start()
