import { Agent, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { contractOf } from '../builders/conformance.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

let world: World
let acme: RoutedTenant
let runtime: RunningRuntime

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  runtime = await startRuntime(world, { TENANTRY_DRAIN_WAIT_MS: '3000' })
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const agent = new Agent({ keepAlive: true, maxSockets: 8 })

/** The status, or the code of the error that the connection met. */
function createTask(): Promise<number | string> {
  return new Promise((resolve) => {
    const sent = request(`${runtime.url}/v1/tasks`, {
      method: 'POST',
      agent,
      headers: { 'x-api-key': acme.token, 'content-type': 'application/json' },
    })
    sent.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    sent.on('response', (answer) => resolve(outcome(answer)))
    sent.end('{"title":"under way"}')
  })
}

/** The status, or what is wrong with the answer. */
async function outcome(answer: IncomingMessage): Promise<number | string> {
  const { statusCode: status = 0 } = answer
  const headers = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]))
  const faults = contractOf(runtime.url)?.faultsOf({ method: 'POST', path: '/v1/tasks', status, headers, body: await text(answer) })
  return faults?.join() || status
}

async function isReady(): Promise<boolean> {
  const answer = await fetch(`${runtime.url}/health/ready`).catch(() => undefined)
  return answer?.status === 200
}

test('HT-10: SIGTERM under traffic with keep-alive fails no request', async () => {
  await vi.waitFor(async () => expect(await isReady()).toBe(true), { timeout: 10_000, interval: 50 })
  const results: (number | string)[] = []
  let balanced = true
  // As a load balancer does: it stops sending once the replica is no longer ready.
  const client = async () => {
    while (balanced) results.push(await createTask())
  }
  const clients = Array.from({ length: 8 }, client)
  await vi.waitFor(() => expect(results.length).toBeGreaterThan(100), 10_000)
  const stopped = runtime.stop()
  await vi.waitFor(async () => expect(await isReady()).toBe(false), { timeout: 5_000, interval: 20 })
  balanced = false
  await Promise.all(clients)
  expect(await stopped).toBe(0)
  expect(new Set(results)).toEqual(new Set([201]))
  const [rows] = await world.database.asTenant(acme.tenant, 'SELECT count(*)::int AS tasks FROM tasks')
  expect(rows?.tasks).toBe(results.length)
  expect(runtime.lines.at(-1)).toMatchObject({ msg: 'drained' })
})

test('a start that fails half way releases what it had and ends with 1', async () => {
  const first = await startRuntime(world)
  const port = new URL(first.url).port
  await expect(startRuntime(world, { TENANTRY_PORT: port })).rejects.toThrow('ended with 1')
  expect(await first.stop()).toBe(0)
})
