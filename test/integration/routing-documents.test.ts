import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { ROUTING_BUCKETS, ROUTING_KEY, type Route } from '../../config/routing.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, type ConfigMap } from '../../operator/kubernetes/object.ts'
import { createRecorder } from '../../operator/kubernetes/recorder.ts'
import { RoutingPublisher } from '../../operator/routing/publish.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { BUCKETS, routeAmong } from '../builders/published.ts'
import { buildRoute } from '../builders/routing.ts'
import { silent } from '../builders/runtime.ts'

let client: Client
let namespace: string

beforeAll(() => {
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
})

beforeEach(async () => {
  namespace = await createNamespace()
})

afterAll(() => client.close())

const routesOf = (count: number) => Array.from({ length: count }, () => buildRoute())
const documents = async () => (await client.list(CONFIG_MAPS, namespace, { labelSelector: BUCKETS })).items
const versions = (all: readonly ConfigMap[]) => all.map(({ metadata }) => `${metadata.name} ${metadata.resourceVersion}`).toSorted()

/** An operator's publisher that has just begun, where these tenants stand. */
async function begin(routes: readonly Route[]): Promise<RoutingPublisher> {
  const recorder = createRecorder(client, 'test', { log: silent })
  const publisher = new RoutingPublisher({ client, namespace, recorder, log: silent })
  await publisher.start((await client.list(CONFIG_MAPS, namespace, {})).items, routes)
  return publisher
}

/** In which documents each tenant stands; it should be one. */
async function placesOf(routes: readonly Route[]): Promise<string[][]> {
  const all = await documents()
  return routes.map(({ uid }) => all.filter((one) => routeAmong([one], uid) !== undefined).map(({ metadata }) => metadata.name))
}

test('tenants that come together share documents, and each stays where it is for the operator that comes next', async () => {
  const routes = routesOf(200)
  const publisher = await begin([])
  await Promise.all(routes.map((route) => publisher.putRoute(route)))
  const places = await placesOf(routes)
  expect(new Set(places.flat()).size).toBeLessThan(ROUTING_BUCKETS / 2)
  const before = versions(await documents())
  await begin(routes)
  expect(versions(await documents())).toEqual(before)
  expect(await placesOf(routes)).toEqual(places)
})

test('a route stays in its document when it changes, and makes room when it goes', async () => {
  const [route = buildRoute(), ...others] = routesOf(20)
  const publisher = await begin([])
  for (const one of [route, ...others]) await publisher.putRoute(one)
  const places = await placesOf([route, ...others])
  await publisher.putRoute({ ...route, state: 'suspended' })
  expect(await placesOf([route, ...others])).toEqual(places)
  await publisher.removeRoute(route.uid)
  expect(await placesOf([route, ...others])).toEqual([[], ...places.slice(1)])
})

test.each([
  ['cannot be read', { [ROUTING_KEY]: '{ broken' }],
  ['is empty', {}],
  ['is gone', undefined],
])('where a document %s the operator that comes next publishes its tenants again, each once', async (_, data) => {
  const routes = routesOf(40)
  await begin(routes)
  const [victim = ''] = (await placesOf(routes)).flat()
  if (data === undefined) await client.delete(CONFIG_MAPS, namespace, victim)
  else
    await kubectl([
      'patch',
      'configmap',
      victim,
      '-n',
      namespace,
      '--type=merge',
      '-p',
      JSON.stringify({ data: { [ROUTING_KEY]: null, ...data } }),
    ])
  await begin(routes)
  expect((await placesOf(routes)).map(({ length }) => length)).toEqual(routes.map(() => 1))
})

test('of a tenant that somebody has put into a second document one route is left', async () => {
  const routes = routesOf(32)
  await begin(routes)
  const [first, second] = await documents()
  if (first === undefined || second === undefined) throw new Error('there are too few documents')
  await kubectl(['patch', 'configmap', second.metadata.name, '-n', namespace, '--type=merge', '-p', JSON.stringify({ data: first.data })])
  await begin(routes)
  expect((await placesOf(routes)).map(({ length }) => length)).toEqual(routes.map(() => 1))
})
