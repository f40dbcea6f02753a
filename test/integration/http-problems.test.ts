import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Client, escapeIdentifier } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { formatRouting, SCOPES } from '../../config/routing.ts'
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
let tenants: Record<'acme' | 'busy' | 'full' | 'powerless' | 'suspended' | 'away' | 'broken' | 'locked', RoutedTenant>

let superuser: Client

beforeAll(async () => {
  world = await createWorld()
  superuser = await connectAsSuperuser(inject('postgres'), world.database.name)
  await routeToNowhere('shard-b')
  tenants = {
    acme: await world.addTenant('acme', {}, [...SCOPES]),
    busy: await world.addTenant('busy', { limits: { ...LIMITS, requestsPerSecond: 1, burst: 1 } }, [...SCOPES]),
    full: await world.addTenant('full', { limits: { ...LIMITS, tasks: 0, users: 0 } }, [...SCOPES]),
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
  return sendRaw(runtime.url, `${method} ${path} HTTP/1.1\r\nconnection: close\r\n\r\n`).then((text) => {
    const [head = '', body] = text.split('\r\n\r\n')
    return new Response(body, { status: Number(head.split(' ')[1]) })
  })
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
  '429 quota-exceeded': (operation) => call(operation, { as: tenants.full }),
  '431 invalid-request': (operation) => call(operation, { headers: { 'x-large': 'x'.repeat(20_000) } }),
  '500 internal': (operation) => call(operation, { as: tenants.broken }),
  '503 shard-unavailable': (operation) => call(operation, { as: tenants.away }),
  '503 overloaded': (operation) => call(operation, { as: tenants.locked }),
}

test('HT-02: every operation answers each problem that can be brought about as the document says', async () => {
  const wrong: string[] = []
  for (const operation of offeredBy(contract)) {
    for (const expected of problemsOf(contract).filter((line) => line.startsWith(`${operation.id} `))) {
      const recipe = RECIPES[expected.slice(operation.id.length + 1)]
      if (recipe === undefined || (operation.scope === undefined && / 50[03] /.test(expected))) continue
      const answer = await recipe(operation)
      const problem = await read(answer)
      const met = `${operation.id} ${answer.status} ${problem.type?.split('/').at(-1)}`
      if (met !== expected) wrong.push(`${expected}: ${met} ${JSON.stringify(problem)}`)
    }
  }
  expect(wrong).toEqual([])
  const all = problemsOf(contract)
  const met = all.filter((line) => contract.met.has(line))
  printFigure(
    `HT-02: ${met.length} of ${all.length} problems that ${offeredBy(contract).length} operations may meet were met, each as the document says`,
  )
})
