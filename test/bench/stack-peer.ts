import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import express from 'express'
import fastify from 'fastify'

/** What the peers of `http-stack` answer with: what the runtime has answered on each path, and who may ask. */
export type Recorded = { answers: Record<string, { headers: Record<string, string>; body: string }>; keys: Record<string, string> }

// node:http does nothing but send the bytes. The other two do, by hooks of their own kind, what a request of ours goes through: a request
// id, the tenant by its hashed key, host name and X-Tenant-ID, the headers of each answer, a time by which it must be over, and its length
// and duration counted.

const [, , kind = '', file = ''] = process.argv
const { answers, keys }: Recorded = JSON.parse(await readFile(file, 'utf8'))
const byPath = new Map(Object.entries(answers))
const byHash = new Map(Object.entries(keys))
const DEADLINE = 10_000

/** The tenant of a request, or undefined: the same checks as ours. */
function tenantOf(headers: IncomingHttpHeaders): string | undefined {
  const hash = createHash('sha256')
    .update(String(headers['x-api-key'] ?? ''))
    .digest('hex')
  const tenant = byHash.get(hash)
  if (tenant === undefined || !timingSafeEqual(Buffer.from(hash), Buffer.from(hash))) return undefined
  const named = headers['x-tenant-id']
  const [host = ''] = (headers.host ?? '').toLowerCase().split(':')
  if (named !== undefined && named !== tenant) return undefined
  return host.endsWith('.localhost') && host !== `${tenant}.localhost` ? undefined : tenant
}

const served = { count: 0, seconds: 0 }

function count(since: number): void {
  served.count += 1
  served.seconds += (performance.now() - since) / 1_000
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
    const timer = setTimeout(() => response.destroy(), DEADLINE)
    response.on('close', () => {
      clearTimeout(timer)
      count(since)
    })
    response.set('x-request-id', request.get('x-request-id') ?? randomUUID())
    if (tenantOf(request.headers) === undefined) response.sendStatus(401)
    else next()
  })
  app.get('/v1/tasks/:id', (request, response) => {
    const answer = byPath.get(request.path)
    if (answer === undefined) return void response.sendStatus(404)
    response.set(answer.headers).send(answer.body)
  })
  const server = app.listen(0, '127.0.0.1', () => announce(Object(server.address()).port))
}

async function listenFastify(): Promise<void> {
  const app = fastify({ genReqId: ({ headers }) => String(headers['x-request-id'] ?? randomUUID()) })
  const timers = new WeakMap<object, NodeJS.Timeout>()
  app.addHook('onRequest', async (request, reply) => {
    timers.set(
      request,
      setTimeout(() => reply.raw.destroy(), DEADLINE),
    )
    if (tenantOf(request.headers) === undefined) return reply.code(401).send()
  })
  app.addHook('onResponse', async (request, reply) => {
    clearTimeout(timers.get(request))
    served.count += 1
    served.seconds += reply.elapsedTime / 1_000
  })
  app.get('/v1/tasks/:id', async (request, reply) => {
    const answer = byPath.get(request.url)
    if (answer === undefined) return reply.code(404).send()
    return reply.headers(answer.headers).header('x-request-id', request.id).send(answer.body)
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
