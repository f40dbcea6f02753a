import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { createProvider, type Provider } from '../builders/provider.ts'
import { until } from '../builders/runtime.ts'
import { createWorld, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const TENANTS = 50
const CONCURRENT = 1_000
const ROUNDS = 4

/** Somebody who calls: a tenant's name and the header that proves it. */
type Caller = { id: string; header: [name: string, value: string] }

let world: World
let runtime: RunningRuntime
let callers: Caller[]

beforeAll(async () => {
  world = await createWorld()
  const provider = await createProvider('shared')
  const made: Caller[][] = []
  for (let index = 0; index < TENANTS; index += 1) made.push(await callersOf(`tenant-${index}`, provider))
  callers = made.flat()
  runtime = await startRuntime(world, { TENANTRY_REDIS_URL: inject('redis').url })
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

async function callersOf(id: string, provider: Provider): Promise<Caller[]> {
  const { token } = await world.addTenant(id, { jwt: provider.issuer })
  const bearer = await provider.sign(provider.claims(id, { exp: Math.floor(Date.now() / 1_000) + 600 }))
  return [
    { id, header: ['x-api-key', token] },
    { id, header: ['authorization', `Bearer ${bearer}`] },
  ]
}

async function send({ header: [name, value] }: Caller, requestId: string, path: string, body?: object): Promise<Record<string, unknown>> {
  const answer = await fetch(`${runtime.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { [name]: value, 'x-request-id': requestId, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${requestId}: ${answer.status} ${text}`)
  return JSON.parse(text)
}

/** Writes a task and reads it back by both ways; gives what was another tenant's. */
async function visit(caller: Caller, visitor: string): Promise<string[]> {
  const title = `${caller.id} ${visitor}`
  const made = await send(caller, `${caller.id}.${visitor}.write`, '/v1/tasks', { title, tags: [visitor] })
  const found = await send(caller, `${caller.id}.${visitor}.read`, `/v1/tasks/${made.id}`)
  const listed = await send(caller, `${caller.id}.${visitor}.list`, `/v1/tasks?tag=${visitor}`)
  const titles = [made.title, found.title, ...(listed.items as { title: string }[]).map((item) => item.title)]
  return titles.length === 3 ? titles.filter((one) => one !== title).map((one) => `${title}: ${one}`) : [`${title}: ${titles}`]
}

test('TI-06: every request is served as its own tenant, with 1,000 of 50 tenants under way at once', async () => {
  const mismatches: string[] = []
  let underWay = 0
  let most = 0
  const visitOne = async (index: number, round: number) => {
    const caller = callers[index % callers.length]
    if (caller === undefined) throw new Error('nobody calls')
    most = Math.max(most, ++underWay)
    mismatches.push(...(await visit(caller, `${round}-${index}`)))
    underWay -= 1
  }
  for (let round = 0; round < ROUNDS; round += 1)
    await Promise.all(Array.from({ length: CONCURRENT }, (_, index) => visitOne(index, round)))
  expect(mismatches).toEqual([])

  const requests = CONCURRENT * ROUNDS * 3
  const logged = () => runtime.lines.filter(({ msg, requestId }) => msg === 'request' && String(requestId).startsWith('tenant-'))
  await until(() => logged().length === requests)
  expect(logged().filter(({ requestId, tenantId }) => String(requestId).split('.')[0] !== tenantId)).toEqual([])
  printFigure(`TI-06: ${requests} requests of ${TENANTS} tenants, ${most} at once, by key and by token: 0 mismatches in answers and log`)
})
