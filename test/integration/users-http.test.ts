import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type RoutedTenant, type RunningRuntime, startReadyRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let globex: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  globex = await world.addTenant('globex')
  runtime = await startReadyRuntime(world)
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

type Reply = { status: number; headers: Headers; body: Record<string, unknown> }

async function send(method: string, path: string, json?: object, { token } = acme, headers: Record<string, string> = {}): Promise<Reply> {
  const body = json === undefined ? {} : { body: JSON.stringify(json) }
  const sent = { 'x-api-key': token, ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers }
  const answer = await fetch(`${runtime.url}${path}`, { method, headers: sent, ...body })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, body: text === '' ? {} : JSON.parse(text) }
}

const register = (email: string, as = acme) => send('POST', '/v1/users', { email, displayName: 'Ann Lee' }, as)

test('a user over HTTP: made, read, listed, by its own tenant', async () => {
  const made = await register(' Ann@Example.com ')
  expect([made.status, made.headers.get('etag'), made.headers.get('location')]).toEqual([201, '"1"', `/v1/users/${made.body.id}`])
  expect(made.body).toMatchObject({ email: 'ann@example.com', displayName: 'Ann Lee', version: 1 })
  expect(Object.keys(made.body)).toEqual(['id', 'email', 'displayName', 'version', 'createdAt', 'updatedAt'])
  const path = `/v1/users/${made.body.id}`
  expect((await send('GET', path)).body).toEqual(made.body)
  expect((await send('GET', path, undefined, acme, { 'if-none-match': '"1"' })).status).toBe(304)
  expect((await send('GET', '/v1/users?limit=1')).body).toEqual({ items: [made.body], nextCursor: null })
})

test('TI-07: an address that another tenant has is free; the tenant’s own user is not to be found by others', async () => {
  const mine = await register('bob@example.com')
  expect((await register('BOB@example.com')).body).toMatchObject({ status: 409, errors: [{ field: 'email' }] })
  expect((await register('bob@example.com', globex)).status).toBe(201)
  const theirs = await send('GET', `/v1/users/${mine.body.id}`, undefined, globex)
  const missing = await send('GET', '/v1/users/01890a5d-ac96-774b-bcce-b302099a8057', undefined, globex)
  expect([theirs.status, { ...theirs.body, requestId: '' }]).toEqual([404, { ...missing.body, requestId: '' }])
})

test.each([
  ['no address', { displayName: 'Ann' }, 'email'],
  ['no name', { email: 'x@example.com' }, 'displayName'],
  ['an address that is none', { email: 'x', displayName: 'Ann' }, 'email'],
  ['a field too many', { email: 'x@example.com', displayName: 'Ann', id: '1' }, 'id'],
])('HT-02: a user with %s is refused', async (_, json, field) => {
  expect((await send('POST', '/v1/users', json)).body).toMatchObject({ status: 400, errors: [{ field }] })
})

test('a user is erased once, by its own tenant, and its tasks are nobody’s', async () => {
  const { body: user } = await register('eve@example.com')
  const { body: task } = await send('POST', '/v1/tasks', { title: 'Call back', assignee: user.id })
  expect(task.assignee).toBe(user.id)
  const path = `/v1/users/${user.id}`
  expect((await send('DELETE', path, undefined, globex)).status).toBe(404)
  expect((await send('DELETE', path, undefined, acme, { 'if-match': '"7"' })).status).toBe(412)
  const erased = await send('DELETE', path)
  expect([erased.status, erased.body]).toEqual([204, {}])
  expect([(await send('GET', path)).status, (await send('DELETE', path)).status]).toEqual([404, 404])
  expect((await send('GET', `/v1/tasks/${task.id}`)).body).toMatchObject({ assignee: null, version: 2 })
  expect((await send('POST', '/v1/tasks', { title: 'x', assignee: user.id })).body).toMatchObject({
    status: 400,
    errors: [{ field: 'assignee' }],
  })
  expect((await register('eve@example.com')).status).toBe(201)
})
