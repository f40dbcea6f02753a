import { afterAll, beforeAll, expect, test } from 'vitest'
import { read, sendTo } from '../builders/http.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const TIMES = { statementMs: 4_000, lockMs: 4_000, idleInTransactionMs: 10_000 }
let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let plain: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme', {
    displayName: 'Acme Corporation',
    plan: 'basic',
    limits: { ...TIMES, requestsPerSecond: 100, burst: 200, concurrency: 10, tasks: 2, users: 5, storageMiB: 3 },
    settings: { theme: { dark: true } },
  })
  plain = await world.addTenant('plain', {}, [])
  runtime = await startRuntime(world)
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const shown = async (as: RoutedTenant) => read(await sendTo(runtime.url, '/v1/tenant', { as }))
const create = (as: RoutedTenant) => sendTo(runtime.url, '/v1/tasks', { method: 'POST', json: { title: 'one' }, as })

test('a tenant sees its plan, its limits, what it has of them at this moment, and its settings', async () => {
  const expected = {
    id: 'acme',
    displayName: 'Acme Corporation',
    plan: 'basic',
    isolation: 'schema',
    limits: { requestsPerSecond: 100, burst: 200, concurrency: 10, tasks: 2, users: 5, storageMiB: 3 },
    usage: { tasks: 0, users: 0, dataBytes: 0 },
    settings: { theme: { dark: true } },
  }
  expect(await shown(acme)).toEqual(expected)
  const { id } = await read(await create(acme))
  expect(await shown(acme)).toEqual({ ...expected, usage: { tasks: 1, users: 0, dataBytes: expect.any(Number) } })
  await create(acme)
  const refused = await create(acme)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60'])
  expect(await read(refused)).toMatchObject({ type: '/docs/problems/quota-exceeded', detail: expect.stringContaining('has 2') })
  await sendTo(runtime.url, `/v1/tasks/${id}`, { method: 'DELETE', as: acme })
  expect(await shown(acme)).toMatchObject({ usage: { tasks: 1 } })
})

test('whatever the credential may do, it may ask that; a route that says nothing of limits has none', async () => {
  expect(await shown(plain)).toEqual({
    id: 'plain',
    displayName: null,
    plan: null,
    isolation: 'schema',
    limits: { requestsPerSecond: null, burst: null, concurrency: null, tasks: null, users: null, storageMiB: null },
    usage: { tasks: 0, users: 0, dataBytes: 0 },
    settings: {},
  })
})
