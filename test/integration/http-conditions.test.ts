import { afterAll, beforeAll, expect, test } from 'vitest'
import { MISSING, read, type Sent, sendTo } from '../builders/http.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  runtime = await startRuntime(world)
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const send = (path: string, sent: Partial<Sent> = {}) => sendTo(runtime.url, path, { as: acme, ...sent })

async function createTask(): Promise<string> {
  return (await send('/v1/tasks', { method: 'POST', json: { title: 'a task' } })).headers.get('location') ?? ''
}

test('HT-03: conditional requests follow the version', async () => {
  const path = await createTask()
  const ifNoneMatch = async (value: string) => {
    const answer = await send(path, { headers: { 'if-none-match': value } })
    expect(answer.headers.get('etag')).toBe(answer.status === 400 ? null : '"1"')
    return answer.status
  }
  expect(await Promise.all(['"1"', 'W/"1"', '"7", "1"', '*'].map(ifNoneMatch))).toEqual([304, 304, 304, 304])
  expect(await Promise.all(['"2"', '"1,2"', 'nonsense'].map(ifNoneMatch))).toEqual([200, 200, 400])
  const patch = async (headers: Record<string, string>) => (await send(path, { method: 'PATCH', json: { title: 'x' }, headers })).status
  for (const [value, status] of [
    ['"9"', 412],
    ['W/"1"', 412],
    ['"foreign"', 412],
    ['1', 400],
    ['*', 200],
    ['"1"', 412],
    ['"1", "2"', 200],
  ] as const) {
    expect([value, await patch({ 'if-match': value })]).toEqual([value, status])
  }
  expect([await patch({ 'if-none-match': '*' }), await patch({ 'if-none-match': '"2"' }), await patch({ 'if-none-match': '"1"' })]).toEqual(
    [412, 412, 200],
  )
  const others = async (method: string, ending = '') => (await send(path + ending, { method, headers: { 'if-match': '"1"' } })).status
  expect([await others('POST', '/complete'), await others('DELETE')]).toEqual([412, 412])
  const create = await send('/v1/tasks', { method: 'POST', json: { title: 'x' }, headers: { 'if-match': '*' } })
  expect(create.status).toBe(412)
  const missing = await send(MISSING, { method: 'PATCH', json: { title: 'x' }, headers: { 'if-match': '"1"' } })
  expect(missing.status).toBe(404)
})

test('HT-03: one of two who change the same version is refused', async () => {
  const path = await createTask()
  const change = (title: string) => send(path, { method: 'PATCH', json: { title }, headers: { 'if-match': '"1"' } })
  const answers = await Promise.all(['a', 'b', 'c', 'd'].map(change))
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412])
})

test('GET /openapi.json needs no key, and is sent once', async () => {
  const answer = await send('/openapi.json', { as: null })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json'])
  expect(await read(answer)).toMatchObject({ openapi: '3.1.1', paths: { '/v1/tasks/{id}': { get: { operationId: 'GetTask' } } } })
  const etag = answer.headers.get('etag') ?? ''
  expect((await send('/openapi.json', { as: null, headers: { 'if-none-match': etag } })).status).toBe(304)
})
