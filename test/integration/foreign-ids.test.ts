import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { SCOPES } from '../../config/routing.ts'
import { type Contract, contractOf } from '../builders/conformance.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { read, type Sent, sendTo } from '../builders/http.ts'
import { marked, type Offered, offeredBy, pathOf } from '../builders/offered.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

/** Stands in everything that the victim has. */
const SECRET = 'secret-of-globex'

let world: World
let runtime: RunningRuntime
let contract: Contract

beforeAll(async () => {
  world = await createWorld()
  runtime = await startRuntime(world)
  const known = contractOf(runtime.url)
  if (known === undefined) throw new Error('the runtime has no document')
  contract = known
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const operations = () => offeredBy(contract).filter(({ scope }) => scope !== undefined)
const makers = () => operations().filter(({ method, template }) => method === 'POST' && !template.includes('{'))

function call(operation: Offered, as: RoutedTenant, id: string, more: Partial<Sent> & { query?: string } = {}): Promise<Response> {
  const { query = '', ...sent } = more
  const json = operation.body === undefined ? {} : { json: operation.body }
  return sendTo(runtime.url, pathOf(operation, id) + query, { method: operation.method, as, ...json, ...sent })
}

/** Makes two of everything that can be made; gives the ids by the path they were made at. */
async function fill(tenant: RoutedTenant, mark: string): Promise<Map<string, string[]>> {
  const made = new Map<string, string[]>()
  for (const maker of makers()) {
    for (let count = 0; count < 2; count += 1) {
      const answer = await call(maker, tenant, '', {
        json: marked(maker, mark),
        headers: { 'idempotency-key': `${mark}-${maker.id}-${count}` },
      })
      expect([maker.id, answer.status]).toEqual([maker.id, 201])
      made.set(maker.template, [...(made.get(maker.template) ?? []), (await read(answer)).id])
    }
  }
  return made
}

/** What a caller can tell of an answer: everything but what is of this one request. */
async function seen(answer: Response): Promise<string> {
  const headers = [...answer.headers].filter(([name]) => !/^(date|x-request-id|ratelimit|tenantry-consistency)/.test(name))
  const text = (await answer.text()).replace(/"requestId":"[^"]*"/, '')
  return JSON.stringify([answer.status, headers, text])
}

/** Every filter of a list, with the victim's value. */
function filtersOf({ query }: Offered): string[] {
  const names = Object.keys(query).filter((name) => !/^(limit|cursor|after)$/.test(name))
  return names.map((name) => `?${name}=${SECRET}`)
}

/** The median times of two answers, in milliseconds, asked for by turns: whatever else the machine does slows both. */
async function timesOf(turns: number, first: () => Promise<Response>, second: () => Promise<Response>): Promise<[number, number]> {
  const taken: [number[], number[]] = [[], []]
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [at, ask] of [first, second].entries()) {
      const begun = performance.now()
      await (await ask()).arrayBuffer()
      taken[at]?.push(performance.now() - begun)
    }
  }
  const median = (times: number[]) => times.sort((left, right) => left - right)[Math.floor(turns / 2)] ?? 0
  return [median(taken[0]), median(taken[1])]
}

describe.each(ISOLATIONS)('%s tenants', (isolation) => {
  let acme: RoutedTenant
  let globex: RoutedTenant
  let foreign: Map<string, string[]>
  let own: Map<string, string[]>
  let calls = 0
  let differences: string[] = []

  beforeEach(async () => {
    const suffix = randomUUID().slice(0, 8)
    acme = await world.addTenant(`acme-${suffix}`, { isolation }, [...SCOPES])
    globex = await world.addTenant(`globex-${suffix}`, { isolation }, [...SCOPES])
    own = await fill(acme, 'of-acme')
    foreign = await fill(globex, SECRET)
    calls = 0
    differences = []
  })

  afterEach(async () => {
    expect(differences.slice(0, 3)).toEqual([])
    // All of it is still there, as it was.
    for (const [path, ids] of foreign) {
      for (const id of ids) expect((await read(await sendTo(runtime.url, `${path}/${id}`, { as: globex }))).version).toBe(1)
    }
  })

  const foreignIds = () => [...foreign.values()].flat()

  /** Both answers, in whatever order they come, must be the same to the caller, and tell nothing of the victim. */
  async function alike(what: string, theirs: Promise<Response>, missing: Promise<Response>): Promise<void> {
    calls += 1
    const [left, right] = await Promise.all([theirs.then(seen), missing.then(seen)])
    const told = [SECRET, ...foreignIds()].filter((text) => left.includes(text))
    if (left !== right || told.length > 0) differences.push(`${what}\n  theirs:  ${left}\n  missing: ${right}`.slice(0, 1_000))
  }

  test('TI-07: an id of another tenant in the path is answered as one that never was', async () => {
    const conditions: Record<string, string>[] = [
      {},
      { 'if-match': '"1"' },
      { 'if-match': '*' },
      { 'if-none-match': '"1"' },
      { 'idempotency-key': `${SECRET}-CreateTask-0` },
      { 'x-tenant-id': acme.tenant.id },
    ]
    const named = operations().filter(({ template }) => template.includes('{'))
    for (const operation of named) {
      for (const headers of conditions) {
        for (const id of foreignIds()) {
          // A key that the caller has used before would be known as its own, not as the victim's.
          const others = 'idempotency-key' in headers ? { 'idempotency-key': randomUUID() } : headers
          const theirs = call(operation, acme, id, { headers })
          await alike(`${operation.id} ${JSON.stringify(headers)}`, theirs, call(operation, acme, randomUUID(), { headers: others }))
        }
      }
    }
    printFigure(
      `TI-07: ${isolation}: ${named.length} operations with an id in the path, ${calls} pairs of answers, ${differences.length} told apart`,
    )
    expect(calls).toBeGreaterThan(0)
  })

  test('TI-07: an id of another tenant takes as long as one that never was', async () => {
    const [operation] = operations().filter(({ method, template }) => method === 'GET' && template.includes('{'))
    const [id = ''] = foreignIds()
    if (operation === undefined) throw new Error('there is nothing to read by its id')
    const [theirs, missing] = await timesOf(
      300,
      () => call(operation, acme, id),
      () => call(operation, acme, randomUUID()),
    )
    printFigure(
      `TI-07: ${isolation}: another tenant's id is answered in ${theirs.toFixed(2)} ms, one that never was in ${missing.toFixed(2)} ms`,
    )
    expect(Math.abs(theirs - missing)).toBeLessThan(Math.max(2, missing / 2))
  })

  test('TI-07: an id of another tenant in a body or filter is answered as one that never was', async () => {
    const referring = operations().flatMap((operation) => operation.references.map((name) => ({ operation, name })))
    for (const { operation, name } of referring) {
      const ownId = own.get(operation.template.split('/{')[0] ?? '')?.[0] ?? ''
      const ask = (id: string) =>
        operation.body === undefined
          ? call(operation, acme, ownId, { query: `?${name}=${id}` })
          : call(operation, acme, ownId, { json: { ...marked(operation, 'of-acme'), [name]: id } })
      for (const id of foreignIds()) await alike(`${operation.id} ${name}`, ask(id), ask(randomUUID()))
    }
    printFigure(
      `TI-07: ${isolation}: ${referring.length} names that take an id, ${calls} pairs of answers, ${differences.length} told apart`,
    )
    expect(calls).toBeGreaterThan(0)
  })

  test('TI-07: what is read without an id tells nothing of another tenant, whatever it is filtered by', async () => {
    const reads = operations().filter(({ method, template }) => method === 'GET' && !template.includes('{'))
    for (const operation of reads) {
      for (const query of ['', ...filtersOf(operation)]) {
        const text = await seen(await call(operation, acme, '', { query }))
        calls += 1
        const hidden = [globex.tenant.uid, ...foreignIds(), ...(query === '' ? [SECRET] : [])]
        differences.push(...hidden.filter((one) => text.includes(one)).map((one) => `${operation.id}${query} tells ${one}`))
      }
    }
    printFigure(
      `TI-07: ${isolation}: ${reads.length} operations without an id, ${calls} answers, ${differences.length} told of another tenant`,
    )
  })

  test("TI-07: another tenant's cursor opens nothing, and its Idempotency-Key is another key", async () => {
    const lists = operations().filter(({ query }) => query.cursor !== undefined)
    for (const operation of lists) {
      const { nextCursor } = await read(await call(operation, globex, '', { query: '?limit=1' }))
      if (nextCursor === null) continue
      const madeUp = Buffer.from(nextCursor, 'base64url').map((byte) => byte ^ 0xff)
      const ask = (cursor: string) => call(operation, acme, '', { query: `?cursor=${cursor}` })
      await alike(operation.id, ask(nextCursor), ask(Buffer.from(madeUp).toString('base64url')))
    }
    expect(calls).toBeGreaterThan(0)
    for (const maker of makers()) {
      const headers = { 'idempotency-key': `${SECRET}-${maker.id}-0` }
      const made = await call(maker, acme, '', { json: marked(maker, 'of-acme'), headers })
      expect([maker.id, made.status]).toEqual([maker.id, 201])
      expect(await seen(made)).not.toContain(SECRET)
    }
  })
})
