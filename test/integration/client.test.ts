import createClient from 'openapi-fetch'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'
import type { paths } from '../client/api.ts'
import { waterThePlants } from '../client/example.ts'

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

test("the README's example does what it says", async () => {
  expect(await waterThePlants(runtime.url, acme.token)).toBe('Water the plants (high), 1 in the garden')
})

test('the typed client knows names, values and answers, and refuses others before they are sent', async () => {
  const tenantry = createClient<paths>({ baseUrl: runtime.url, headers: { 'X-API-Key': acme.token } })
  const { data: statistics } = await tenantry.GET('/v1/tasks/statistics')
  expect(statistics?.byPriority.urgent).toBe(0)
  const { data: user } = await tenantry.POST('/v1/users', { body: { email: 'ann@example.com', displayName: 'Ann Lee' } })
  const made = await tenantry.POST('/v1/tasks', { body: { title: 'x', assignee: user?.id ?? null } })
  expect(made.data?.assignee).toBe(user?.id)
  const { error } = await tenantry.GET('/v1/tasks/{id}', { params: { path: { id: 'none' } } })
  expect(error?.type).toBe('/docs/problems/not-found')

  // @ts-expect-error a title is required
  const untitled = await tenantry.POST('/v1/tasks', { body: {} })
  // @ts-expect-error there is no such priority
  const unheard = await tenantry.POST('/v1/tasks', { body: { title: 'x', priority: 'whatever' } })
  // @ts-expect-error there is no such filter
  const unknown = await tenantry.GET('/v1/tasks', { params: { query: { colour: 'red' } } })
  expect([untitled, unheard, unknown].map(({ response }) => response.status)).toEqual([400, 400, 400])
})
