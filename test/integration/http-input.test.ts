import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { createGzip, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Contract, contractOf } from '../builders/conformance.ts'
import { printFigure } from '../builders/figure.ts'
import { read, sendTo } from '../builders/http.ts'
import { type Offered, offeredBy, pathOf } from '../builders/offered.ts'
import { residentMiB } from '../builders/resident.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const NOBODY = '01890a5d-ac96-774b-bcce-b302099a8057'
const MIB = 1024 * 1024

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let contract: Contract

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  runtime = await startRuntime(world)
  const known = contractOf(runtime.url)
  if (known === undefined) throw new Error('the runtime has no document')
  contract = known
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const ofTenant = () => offeredBy(contract).filter(({ scope }) => scope !== undefined)
const withBody = () => ofTenant().filter(({ body }) => body !== undefined)
const reads = () => ofTenant().filter(({ method }) => method === 'GET')
const lists = () => ofTenant().filter(({ query }) => query.limit !== undefined)

type Request = { query?: string; headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> | string }

/** A request, what it should be answered with, and which field should be named. */
type Case = { operation: Offered; request: Request; status: number; field?: string }

/** The cases that were answered otherwise, with their answers. */
async function unexpected(cases: readonly Case[]): Promise<string[]> {
  const wrong: string[] = []
  for (const { operation, request, status, field } of cases) {
    const { query = '', headers = {}, body } = request
    const answer = await fetch(`${runtime.url}${pathOf(operation, NOBODY)}${query}`, {
      method: operation.method,
      headers: { 'x-api-key': acme.token, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body }),
    })
    const { errors = [] } = await read(answer)
    const isRight = answer.status === status && (field === undefined || errors.some((fault: { field: string }) => fault.field === field))
    if (!isRight) wrong.push(`${operation.id} ${query}${String(body).slice(0, 200)}: ${answer.status} ${JSON.stringify(errors)}`)
  }
  return wrong
}

/** A GiB of zeros in a MiB. */
async function bomb(): Promise<Uint8Array<ArrayBuffer>> {
  const zeros = Buffer.alloc(MIB)
  return new Uint8Array(await buffer(Readable.from(Array(1024).fill(zeros)).pipe(createGzip())))
}

const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
const parameters = (count: number) => `?${Array.from({ length: count }, (_, at) => `a${at}=`).join('&')}`

/** Bodies and query strings that are too large, with what each is answered. */
async function tooLarge(): Promise<Case[]> {
  const zipped = { 'content-encoding': 'gzip' }
  const bodies: [Request, number][] = [
    [{ body: Buffer.alloc(10 * MIB, 0x20) }, 413],
    [{ body: await bomb(), headers: zipped }, 413],
    [{ body: nested(100_000) }, 400],
    [{ body: gzipSync(nested(100_000)), headers: zipped }, 400],
    [{ body: nested(32) }, 400],
  ]
  const queries: [Request, number][] = [
    [{ query: parameters(10_000) }, 431],
    [{ query: `?limit=${'1'.repeat(5_000)}` }, 400],
    [{ query: parameters(51) }, 400],
    [{ headers: { 'x-large': 'x'.repeat(20_000) } }, 431],
  ]
  const pages: [Request, number][] = ['1000000000', '101', '0', '-1', '1e2', '1.5'].map((limit) => [{ query: `?limit=${limit}` }, 400])
  const cases = (operations: Offered[], requests: [Request, number][]): Case[] =>
    operations.flatMap((operation) => requests.map(([request, status]) => ({ operation, request, status })))
  return [...cases(withBody(), bodies), ...cases(reads(), queries), ...cases(lists(), pages)]
}

test('HT-06: what is too large is refused early, by every operation, and leaves no memory behind', async () => {
  const cases = await tooLarge()
  const first = await unexpected(cases)
  // What the first of them take the process keeps for the next.
  const before = await residentMiB(runtime.process.pid)
  expect([...first, ...(await unexpected(cases)), ...(await unexpected(cases))]).toEqual([])
  const grown = (await residentMiB(runtime.process.pid)) - before
  printFigure(`HT-06: ${3 * cases.length} requests that were too large were refused; the runtime grew by ${grown.toFixed(0)} MiB`)
  expect(grown).toBeLessThan(100)
})

test('HT-06: a depth of 32 is read, and brackets in text are no depth', async () => {
  const send = (title: unknown) => sendTo(runtime.url, '/v1/tasks', { as: acme, method: 'POST', json: { title } })
  expect((await send('[{"'.repeat(60))).status).toBe(201)
  const deep = await read(await send(JSON.parse(`${'['.repeat(31)}${']'.repeat(31)}`)))
  expect(deep.errors).toEqual([{ field: 'title', message: expect.stringContaining('expected string') }])
})

/** What an attacker puts into a body that is right otherwise: name and value. */
const INTRUDERS: [string, unknown][] = [
  ['__proto__', { polluted: true }],
  ['constructor', { prototype: { polluted: true } }],
  ['prototype', { polluted: true }],
  ['__proto__.polluted', true],
  ['constructor[prototype][polluted]', true],
  ['toString', 'x'],
  ['hasOwnProperty', 'x'],
]

/** What nobody may set: names that the answer has and the input has not, and those that other systems fell for. */
const READ_ONLY = [
  'id',
  'version',
  'createdAt',
  'updatedAt',
  'completedAt',
  'position',
  'tenantId',
  'tenant_id',
  'tenant',
  'uid',
  'role',
  'scopes',
  'isAdmin',
  'deleted',
]

/** Bodies that are right but for one place. */
function spoiltBodies(operation: Offered): Case[] {
  const { body = {} } = operation
  const refused = (text: string, field: string): Case => ({ operation, request: { body: text }, status: 400, field })
  // By hand: an object literal with __proto__ has no such property of its own.
  const plus = (name: string, value: unknown) => `${JSON.stringify(body).slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`
  return [
    ...INTRUDERS.map(([name, value]) => refused(plus(name, value), name)),
    ...READ_ONLY.filter((name) => !(name in body)).map((name) => refused(plus(name, 'x'), name)),
    ...Object.entries(body).flatMap(([name, value]) =>
      otherKinds(value).map(([other, place]) => refused(JSON.stringify({ ...body, [name]: other }), `${name}${place}`)),
    ),
  ]
}

/** Values of other kinds than this one, and where in them the fault is. */
function otherKinds(value: unknown): [unknown, string][] {
  const plain: [unknown, string][] = [{}, { $ne: null }, 7, true].map((other) => [other, ''])
  return [
    ...plain,
    ...(Array.isArray(value)
      ? ([
          ['x', ''],
          [[['x']], '.0'],
        ] as [unknown, string][])
      : ([[['x'], '']] as [unknown, string][])),
  ]
}

const QUERIES = ['__proto__', '__proto__[polluted]', 'constructor', 'constructor[prototype][x]', 'limit[]', 'limit[$gt]']

test('HT-08: every operation refuses foreign names, read-only fields and values of another kind', async () => {
  const queries = reads()
    .filter(({ template }) => !template.includes('{'))
    .flatMap((operation) =>
      QUERIES.map((field): Case => ({ operation, request: { query: `?${encodeURIComponent(field)}=1` }, status: 400, field })),
    )
  const cases = [...withBody().flatMap(spoiltBodies), ...queries]
  const wrong = await unexpected(cases)
  printFigure(
    `HT-08: ${cases.length} requests with foreign names, read-only fields or values of another kind, ${wrong.length} not refused by name`,
  )
  expect(wrong).toEqual([])
  expect((await sendTo(runtime.url, '/v1/tasks', { as: acme, method: 'POST', json: { title: 'still well' } })).status).toBe(201)
})
