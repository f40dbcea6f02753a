import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type Client, escapeIdentifier } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { formatRouting, SCOPES, SHARDS_DOCUMENT } from '../../config/routing.ts'
import { type Contract, contractOf, problemsOf } from '../builders/conformance.ts'
import { printFigure } from '../builders/figure.ts'
import { read, type Sent, sendRaw, sendTo } from '../builders/http.ts'
import { marked, type Offered, offeredBy, pathOf } from '../builders/offered.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { buildDocument } from '../builders/routing.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const NOBODY = '01890a5d-ac96-774b-bcce-b302099a8057'
const LIMITS = { statementMs: 900, lockMs: 300, idleInTransactionMs: 5_000 }

let world: World
let runtime: RunningRuntime
let contract: Contract
let tenants: Record<'acme' | 'busy' | 'full' | 'stuffed' | 'powerless' | 'suspended' | 'away' | 'broken' | 'locked', RoutedTenant>

let superuser: Client

beforeAll(async () => {
  world = await createWorld()
  superuser = await connectAsSuperuser(inject('postgres'), world.database.name)
  await routeToNowhere('shard-b')
  tenants = {
    acme: await world.addTenant('acme', {}, [...SCOPES]),
    busy: await world.addTenant('busy', { limits: { ...LIMITS, requestsPerSecond: 1, burst: 1 } }, [...SCOPES]),
    full: await world.addTenant('full', { limits: { ...LIMITS, tasks: 0, users: 0 } }, [...SCOPES]),
    stuffed: await world.addTenant('stuffed', { limits: { ...LIMITS, storageMiB: 1 } }, [...SCOPES]),
    powerless: await world.addTenant('powerless', {}, []),
    suspended: await world.addTenant('suspended', { state: 'suspended' }, [...SCOPES]),
    away: await world.addTenant('away', { shard: 'shard-b' }, [...SCOPES]),
    broken: await world.addTenant('broken', {}, [...SCOPES]),
    locked: await world.addTenant('locked', { limits: LIMITS }, [...SCOPES]),
  }
  await onTables(tenants.broken, (table) => `ALTER TABLE ${table} RENAME COLUMN tenant_id TO gone`)
  await superuser.query('BEGIN')
  await onTables(tenants.locked, (table) => `LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`)
  runtime = await startRuntime(world, { TENANTRY_BODY_LIMIT_BYTES: '20000', TENANTRY_GATEWAY_ADDRESSES: '127.0.0.1' })
  const known = contractOf(runtime.url)
  if (known === undefined) throw new Error('the runtime has no document')
  contract = known
})

afterAll(async () => {
  await superuser?.end()
  await runtime?.stop()
  await world?.remove()
})

async function routeToNowhere(shard: string): Promise<void> {
  const { endpoint, credentials } = world.database
  await writeFile(join(world.credentials, `${shard}.json`), JSON.stringify(credentials))
  await world.write(shard, formatRouting(buildDocument([], { [shard]: { ...endpoint, port: 1 } })))
}

async function onTables({ tenant }: RoutedTenant, text: (table: string) => string): Promise<void> {
  const { schema } = tenant.route
  const { rows } = await superuser.query('SELECT tablename FROM pg_tables WHERE schemaname = $1', [schema])
  for (const { tablename } of rows) await superuser.query(text(`${escapeIdentifier(schema)}.${escapeIdentifier(tablename)}`))
}

/** A request that would be right for any tenant, but for what a problem needs. */
function call(
  operation: Offered,
  { id = NOBODY, query = '', ...changes }: Partial<Sent> & { id?: string; query?: string } = {},
): Promise<Response> {
  const json = operation.body === undefined || changes.body !== undefined ? {} : { json: operation.body }
  const as = operation.scope === undefined ? null : tenants.acme
  return sendTo(runtime.url, pathOf(operation, id) + query, { method: operation.method, as, ...json, ...changes })
}

/** A request without a host: nobody can have meant it. */
function callRaw({ method }: Offered, path: string): Promise<Response> {
  return sendRaw(runtime.url, `${method} ${path} HTTP/1.1\r\nconnection: close\r\n\r\n`).then(responseOf)
}

function responseOf(text: string): Response {
  const [head = '', body] = text.split('\r\n\r\n')
  return new Response(body, { status: Number(head.split(' ')[1]) })
}

/** The id of something that acme has just made, where the operation's path takes one. */
async function made(operation: Offered, headers: Record<string, string> = {}): Promise<string> {
  const [collection] = operation.template.split('/{')
  const maker = offeredBy(contract).find(({ method, template }) => method === 'POST' && template === collection)
  if (maker === undefined) throw new Error(`nothing can be made at ${collection}`)
  const answer = await call(maker, { json: marked(maker, 'made'), headers })
  expect(answer.status).toBe(201)
  return (await read(answer)).id
}

/** Something that a tenant has, and no room for more. */
async function madeByStuffed(): Promise<string> {
  const { tenant } = tenants.stuffed
  const answer = await sendTo(runtime.url, '/v1/tasks', { method: 'POST', json: { title: 'x' }, as: tenants.stuffed })
  await world.database.asTenant(tenant, `UPDATE tenantry.head SET counts = counts || '{"usersBytes": 9999999}'`)
  return (await read(answer)).id
}

/** While the first request with its key still runs, which here waits for a lock: one of the two is the second. */
async function twiceAtOnce(operation: Offered): Promise<Response> {
  const headers = { 'idempotency-key': randomUUID() }
  const both = await Promise.all([0, 1].map(() => call(operation, { as: tenants.locked, headers })))
  return both.find(({ status }) => status === 409) ?? both[0] ?? expect.unreachable()
}

/** A request that never comes to its end. */
async function crawl({ method }: Offered, path: string): Promise<Response> {
  return responseOf(await sendRaw(runtime.url, `${method} ${path} HTTP/1.1\r\nhost: x\r\nx-slow: `))
}

const OVERSIZE = JSON.stringify({ title: 'x'.repeat(21_000) })

/** How each problem is brought about, for any operation that says that it may meet it. */
const RECIPES: Record<string, (operation: Offered) => Promise<Response>> = {
  '400 invalid-request': (operation) => callRaw(operation, pathOf(operation, NOBODY)),
  '400 tenant-conflict': (operation) => call(operation, { headers: { 'x-tenant-id': 'powerless' } }),
  '401 unauthenticated': (operation) => call(operation, { as: null }),
  '403 forbidden': (operation) => call(operation, { as: tenants.powerless }),
  '403 tenant-suspended': (operation) => call(operation, { as: tenants.suspended }),
  // Where the path names nothing, only a gateway can name what nobody knows: a tenant.
  '404 not-found': (operation) =>
    operation.template.includes('{') ? call(operation) : call(operation, { as: null, headers: { 'x-tenant-id': 'nobody' } }),
  '408 invalid-request': (operation) => crawl(operation, pathOf(operation, NOBODY)),
  '409 conflict': twiceAtOnce,
  '412 precondition-failed': async (operation) => call(operation, { id: await made(operation), headers: { 'if-match': '"999"' } }),
  '413 payload-too-large': (operation) => call(operation, { body: OVERSIZE }),
  '415 unsupported-media-type': (operation) => call(operation, { body: 'x', headers: { 'content-type': 'text/plain' } }),
  '422 idempotency-mismatch': async (operation) => {
    const headers = { 'idempotency-key': randomUUID() }
    return call(operation, { id: await made(operation, headers), headers })
  },
  '429 rate-limited': async (operation) => {
    const first = await call(operation, { as: tenants.busy })
    return first.status === 429 ? first : call(operation, { as: tenants.busy })
  },
  '429 quota-exceeded': async (operation) =>
    operation.template.includes('{')
      ? call(operation, { as: tenants.stuffed, id: await madeByStuffed() })
      : call(operation, { as: tenants.full }),
  '431 invalid-request': (operation) => call(operation, { headers: { 'x-large': 'x'.repeat(20_000) } }),
  '500 internal': (operation) => call(operation, { as: tenants.broken }),
  '503 shard-unavailable': (operation) => call(operation, { as: tenants.away }),
  '503 overloaded': (operation) => call(operation, { as: tenants.locked }),
}

test('HT-02: every operation answers each problem that the document says it may meet, as it says', async () => {
  const offered = offeredBy(contract)
  const all = problemsOf(contract)
  const provoke = async (expected: string): Promise<string[]> => {
    const operation = offered.find(({ id }) => expected.startsWith(`${id} `))
    const recipe = RECIPES[expected.slice(expected.indexOf(' ') + 1)]
    if (operation === undefined || recipe === undefined) return [`nobody knows how to bring about ${expected}`]
    const answer = await recipe(operation)
    const problem = await read(answer)
    const met = `${operation.id} ${answer.status} ${problem.type?.split('/').at(-1)}`
    return met === expected ? [] : [`${expected}: ${met} ${JSON.stringify(problem)}`]
  }
  const isLocked = (line: string) => LOCKED.some((kind) => line.endsWith(kind))
  const kinds = new Set(all.map((line) => line.slice(line.indexOf(' '))))
  const wrong: string[] = []
  // All of a kind at once: they wait for the same thing, such as ten seconds for who is slow. But what waits for a lock is a burden to others.
  for (const kind of kinds) {
    const lines = all.filter((line) => line.endsWith(kind) && !isLocked(line))
    wrong.push(...(await Promise.all(lines.map(provoke))).flat())
  }
  for (const line of all) if (isLocked(line) && line !== HUNG) wrong.push(...(await provoke(line)))
  expect(wrong).toEqual([])
  const met = new Set([...contract.met, ...(await hungReadiness())])
  expect(all.filter((line) => !met.has(line))).toEqual([])
  printFigure(
    `HT-02: ${all.length} of ${all.length} problems that ${offered.length} operations may meet were met, each as the document says`,
  )
})

const LOCKED = [' 409 conflict', ' 503 overloaded']
const HUNG = 'Readiness 503 overloaded'

/** What is met by who asks a runtime whose only Shard accepts connections and says nothing. */
async function hungReadiness(): Promise<Set<string>> {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = Object(silent.address())
  const place = { ...world.database.endpoint, host: '127.0.0.1', port }
  const elsewhere = await createWorld()
  await elsewhere.write(SHARDS_DOCUMENT, formatRouting(buildDocument([], { 'shard-a': place })))
  const hung = await startRuntime(elsewhere, { TENANTRY_REQUEST_DEADLINE_MS: '500' })
  expect((await fetch(`${hung.url}/health/ready`)).status).toBe(503)
  const met = contractOf(hung.url)?.met ?? new Set()
  await hung.stop()
  await elsewhere.remove()
  silent.close()
  return met
}
