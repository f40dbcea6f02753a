import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest'
import { ApiError } from '../../operator/kubernetes/api-error.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, type ConfigMap, EVENTS } from '../../operator/kubernetes/object.ts'
import { createRecorder } from '../../operator/kubernetes/recorder.ts'
import { handClock } from '../builders/clock.ts'
import { createNamespace, installWidgets, WIDGETS } from '../builders/cluster.ts'
import { keepLog } from '../builders/log.ts'
import { type ApiProxy, type ProxiedCall, startApiProxy } from '../faults/api-proxy.ts'

let client: Client
/** Waits half a second for an answer, at most. */
let hasty: Client
let proxy: ApiProxy
let namespace: string

beforeAll(async () => {
  proxy = await startApiProxy(inject('kubernetes').kubeconfig)
  client = connect({ kubeconfig: proxy.kubeconfig, pageSize: 10 })
  hasty = connect({ kubeconfig: proxy.kubeconfig, callMs: 500 })
})
afterAll(async () => {
  await client.close()
  await hasty.close()
  await proxy[Symbol.asyncDispose]()
})
beforeEach(async () => {
  namespace = await createNamespace()
})

const here = (call: ProxiedCall) => call.path.includes(namespace)

function put(name: string): Promise<ConfigMap> {
  return client.apply(CONFIG_MAPS, namespace, { metadata: { name }, data: { value: name } })
}

async function putMany(count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `item-${String(i).padStart(2, '0')}`)
  await Promise.all(names.map(put))
  return names
}

test('a list comes in pages, whole and at one resourceVersion', async () => {
  const names = await putMany(25)
  const before = proxy.calls.length
  const { items, resourceVersion } = await client.list(CONFIG_MAPS, namespace)
  expect(items.map((item) => item.metadata.name)).toEqual(expect.arrayContaining(names))
  expect(new Set(items.map((item) => item.kind))).toEqual(new Set(['ConfigMap']))
  expect(Number(resourceVersion)).toBeGreaterThan(0)
  expect(proxy.calls.slice(before).filter((call) => call.query.get('limit') === '10')).toHaveLength(Math.ceil(items.length / 10))
})

test('OP-06: a continue token that has expired is followed by one whole list', async () => {
  const names = await putMany(25)
  using expired = proxy.fail((call) => here(call) && call.query.has('continue'), { kind: 'answer', status: 410 })
  const { items } = await client.list(CONFIG_MAPS, namespace)
  expect(expired.hits()).toBe(1)
  expect(items.map((item) => item.metadata.name)).toEqual(expect.arrayContaining(names))
  expect(new Set(items.map((item) => item.metadata.uid)).size).toBe(items.length)
})

test.for([429, 503])('%i with Retry-After is tried again, without it is told', async (status) => {
  await put('one')
  using polite = proxy.fail(here, { kind: 'answer', status, retryAfterSeconds: 0 }, 2)
  expect((await client.get(CONFIG_MAPS, namespace, 'one'))?.metadata.name).toBe('one')
  expect(polite.hits()).toBe(2)
  using rude = proxy.fail(here, { kind: 'answer', status }, 1)
  await expect(client.get(CONFIG_MAPS, namespace, 'one')).rejects.toMatchObject({ status, reason: 'Fault' })
  expect(rude.hits()).toBe(1)
})

test('a server that goes on asking to wait is given up after a few tries', async () => {
  using never = proxy.fail(here, { kind: 'answer', status: 429, retryAfterSeconds: 0 })
  await expect(client.get(CONFIG_MAPS, namespace, 'one')).rejects.toBeInstanceOf(ApiError)
  expect(never.hits()).toBe(5)
})

test('a call that gets no answer ends at its deadline, or when its signal aborts', async () => {
  using silent = proxy.fail(here, { kind: 'silence' })
  await expect(hasty.get(CONFIG_MAPS, namespace, 'one')).rejects.toThrow('nothing for 500 ms')
  const stop = new AbortController()
  const call = client.get(CONFIG_MAPS, namespace, 'one', { signal: stop.signal })
  stop.abort(new Error('SIGTERM'))
  await expect(call).rejects.toThrow('SIGTERM')
  expect(silent.hits()).toBeGreaterThanOrEqual(1)
})

test('a write whose answer is lost is an error and may have happened: done again by apply it is one object', async () => {
  using lost = proxy.fail((call) => here(call) && call.method === 'PATCH', { kind: 'lose-answer' }, 1)
  await expect(put('one')).rejects.toThrow()
  expect(lost.hits()).toBe(1)
  const kept = await client.get(CONFIG_MAPS, namespace, 'one')
  expect((await put('one')).metadata.uid).toBe(kept?.metadata.uid)
})

test('get and delete take it calmly that an object is not there, and delete spares another uid', async () => {
  expect(await client.get(CONFIG_MAPS, namespace, 'none')).toBeUndefined()
  await client.delete(CONFIG_MAPS, namespace, 'none')
  const first = await put('reborn')
  await client.delete(CONFIG_MAPS, namespace, 'reborn', { uid: first.metadata.uid })
  const second = await put('reborn')
  await client.delete(CONFIG_MAPS, namespace, 'reborn', { uid: first.metadata.uid })
  expect((await client.get(CONFIG_MAPS, namespace, 'reborn'))?.metadata.uid).toBe(second.metadata.uid)
})

test('a patch with a stale resourceVersion is refused with 409, one with another uid with 422', async () => {
  const { resourceVersion } = (await put('one')).metadata
  const patch = (metadata: Record<string, string>, value: string) =>
    client.patch(CONFIG_MAPS, namespace, 'one', { metadata, data: { value } })
  await patch({ resourceVersion }, 'changed')
  await expect(patch({ resourceVersion }, 'stale')).rejects.toMatchObject({ status: 409, reason: 'Conflict' })
  await expect(patch({ uid: '00000000-0000-0000-0000-000000000000' }, 'another')).rejects.toMatchObject({ status: 422 })
  expect((await client.get(CONFIG_MAPS, namespace, 'one'))?.data).toEqual({ value: 'changed' })
})

test('the status is written through its subresource and leaves the spec alone', async () => {
  await installWidgets()
  await client.create(WIDGETS, namespace, { metadata: { name: 'one' }, spec: { wanted: 'spec' } })
  const after = await client.apply(
    WIDGETS,
    namespace,
    { metadata: { name: 'one' }, spec: { wanted: 'ignored' }, status: { seen: 'status' } },
    { subresource: 'status' },
  )
  expect(after).toMatchObject({ spec: { wanted: 'spec' }, status: { seen: 'status' } })
})

test('the same Event again raises a count, also after a restart, and writes nothing within a minute', async () => {
  const object = await put('one')
  const clock = handClock()
  const log = keepLog()
  const first = createRecorder(client, 'test', { log, clock })
  for (let i = 0; i < 5; i++) await first.record(object, 'Normal', 'Provisioned', 'its schema is there')
  await first.record(object, 'Warning', 'Failed', 'the Shard is away')
  const counts = async () => {
    const { items } = await client.list(EVENTS, namespace)
    return items.map(({ reason, count, involvedObject }) => `${reason} ${count} ${involvedObject.name}`).sort()
  }
  expect(await counts()).toEqual(['Failed 1 one', 'Provisioned 1 one'])
  await clock.pass(60_000)
  await first.record(object, 'Normal', 'Provisioned', 'its schema is there')
  expect(await counts()).toEqual(['Failed 1 one', 'Provisioned 6 one'])
  await createRecorder(client, 'test', { log }).record(object, 'Normal', 'Provisioned', 'its schema is there')
  expect(await counts()).toEqual(['Failed 1 one', 'Provisioned 7 one'])
  expect(log.lines.filter(({ level }) => level !== 'debug')).toEqual([])
})

test('an Event that cannot be written is logged and costs nothing else', async () => {
  const object = await put('one')
  const log = keepLog()
  using refused = proxy.fail((call) => call.path.endsWith('/events'), { kind: 'answer', status: 500 })
  await createRecorder(client, 'test', { log }).record(object, 'Normal', 'Tried', 'x'.repeat(5_000))
  expect(refused.hits()).toBe(1)
  expect(log.lines.map(({ message }) => message)).toEqual(['told', 'an Event could not be written'])
})
