import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, type ConfigMap } from '../../operator/kubernetes/object.ts'
import { type Store, type WatchOptions, watch, watchChannel } from '../../operator/kubernetes/watch.ts'
import { type Controller, runController } from '../../operator/loop/controller.ts'
import { createNamespace, installWidgets, WIDGETS } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'
import { type ApiProxy, type ProxiedCall, startApiProxy } from '../faults/api-proxy.ts'
import type { WatchPipe } from '../faults/watch-pipe.ts'

/** What a level-triggered controller has made of the world: the uid and the value it saw last, for each name. */
type World = Map<string, { uid: string; value: string | undefined }>

let direct: Client
let client: Client
let proxy: ApiProxy
let namespace: string
let store: Store<ConfigMap>
let controller: Controller
let world: World
let stop: AbortController
let messages: { resource: string; event: string; reason: string }[]

const PATIENCE = { timeout: 30_000, interval: 20 }
const isWatch = (call: ProxiedCall) => call.watch && call.path.includes(namespace)
const isList = (call: ProxiedCall) => call.method === 'GET' && !call.watch && call.path.endsWith(`/${namespace}/configmaps`)
const listen = (message: unknown) => void messages.push(Object(message))

beforeAll(async () => {
  direct = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  proxy = await startApiProxy(inject('kubernetes').kubeconfig)
  client = connect({ kubeconfig: proxy.kubeconfig })
})
afterAll(async () => {
  await client.close()
  await direct.close()
  await proxy[Symbol.asyncDispose]()
})
beforeEach(async () => {
  namespace = await createNamespace()
  stop = new AbortController()
  world = new Map()
  messages = []
  watchChannel.subscribe(listen)
})
afterEach(async () => {
  watchChannel.unsubscribe(listen)
  stop.abort(new Error('the test is over'))
  await controller.done
})

/** Watches the namespace's ConfigMaps through the proxy and runs a controller that writes down what it sees. */
async function follow(
  options: Partial<WatchOptions> = {},
  onChange: (name: string) => void = (name) => controller.enqueue(name),
): Promise<void> {
  const log = keepLog()
  const reconcile = async (name: string) => {
    const object = store.get(name)
    if (object === undefined) world.delete(name)
    else world.set(name, { uid: object.metadata.uid, value: object.data?.value })
    return { kind: 'done' as const }
  }
  const backoff = { baseMs: 50, capMs: 500, jitter: 0.5 }
  store = watch(client, CONFIG_MAPS, namespace, { onChange, backoff, signal: stop.signal, log, ...options })
  controller = runController({
    name: 'configmap',
    reconcile,
    keys: () => [...store.list().map((o) => o.metadata.name), ...world.keys()],
    signal: stop.signal,
    log,
  })
  await store.synced
  await vi.waitFor(() => expect(watches()).toHaveLength(1), PATIENCE)
}

function watches(): WatchPipe[] {
  return proxy.watches(isWatch)
}

function put(name: string, value: string): Promise<ConfigMap> {
  return direct.apply(CONFIG_MAPS, namespace, { metadata: { name }, data: { value } })
}

function remove(name: string): Promise<void> {
  return direct.delete(CONFIG_MAPS, namespace, name)
}

/** Waits until the world is what the API server has; gives the milliseconds that took. */
async function converge(): Promise<number> {
  const since = performance.now()
  const { items } = await direct.list(CONFIG_MAPS, namespace)
  const wanted = new Map(items.map((item) => [item.metadata.name, { uid: item.metadata.uid, value: item.data?.value }]))
  await vi.waitFor(() => expect(world).toEqual(wanted), PATIENCE)
  return performance.now() - since
}

test('OP-05: a dropped ADDED, MODIFIED or DELETED event is made good by the next list', async () => {
  await follow({ timeoutSeconds: 2, idleMs: 10_000, relistMs: 4_000 })
  await put('modified', '1')
  await put('deleted', '1')
  await converge()
  const drops = ['ADDED', 'MODIFIED', 'DELETED'].map((type) =>
    watches()[0]?.drop((event) => event.type === type && event.object.metadata.name === type.toLowerCase()),
  )
  await put('added', '2')
  await put('modified', '2')
  await remove('deleted')
  await put('marker', 'after the three')
  await vi.waitFor(() => expect(world.has('marker')).toBe(true), PATIENCE)
  expect(drops.map((drop) => drop?.dropped())).toEqual([true, true, true])
  expect(world.has('added')).toBe(false)
  const ms = await converge()
  expect(messages).toContainEqual({ resource: 'configmaps', event: 'listed', reason: 'periodic' })
  printFigure(`OP-05: 3 events dropped, 3 made good, ${(ms / 1000).toFixed(1)} s later with a list every 4 s`)
})

test('OP-05: add, delete and add under one name shows reconcile the new uid', async () => {
  await follow()
  const first = await put('reborn', '1')
  await converge()
  expect(world.get('reborn')?.uid).toBe(first.metadata.uid)
  const drop = watches()[0]?.drop((event) => event.type === 'DELETED')
  await remove('reborn')
  const second = await put('reborn', '1')
  await converge()
  expect(drop?.dropped()).toBe(true)
  expect(second.metadata.uid).not.toBe(first.metadata.uid)
  expect(world.get('reborn')?.uid).toBe(second.metadata.uid)
})

test.for(['answer', 'event'] as const)('OP-06: 410 Gone as %s: lists again and notices what was deleted meanwhile', async (how) => {
  await follow()
  for (const name of ['stays', 'goes', 'changes']) await put(name, '1')
  await converge()
  using away = proxy.fail(isWatch, { kind: 'answer', status: 503 })
  watches()[0]?.reset()
  await vi.waitFor(() => expect(away.hits()).toBeGreaterThan(0), PATIENCE)
  await remove('goes')
  await put('changes', '2')
  await put('comes', '1')
  const lists = proxy.calls.filter(isList).length
  using gone = proxy.fail(isWatch, { kind: 'answer', status: 410 }, how === 'event' ? 0 : 1)
  away[Symbol.dispose]()
  if (how === 'event') {
    await vi.waitFor(() => expect(watches()).toHaveLength(1), PATIENCE)
    watches()[0]?.error(410)
  }
  const ms = await converge()
  expect(gone.hits()).toBe(how === 'event' ? 0 : 1)
  await vi.waitFor(() => expect(proxy.calls.filter(isList).length).toBeGreaterThan(lists), PATIENCE)
  await vi.waitFor(() => expect(messages).toContainEqual({ resource: 'configmaps', event: 'listed', reason: 'expired' }), PATIENCE)
  printFigure(`OP-06 (${how}): converged ${(ms / 1000).toFixed(2)} s after the watch could be had again`)
})

test("OP-06: the API server's own 410: an old resourceVersion is followed by a list", async () => {
  // The API server has a history of Widgets from the moment it learned of them; version 1 is long before.
  await installWidgets()
  await direct.create(WIDGETS, namespace, { metadata: { name: 'goes' }, spec: {} })
  using old = proxy.fail(isWatch, { kind: 'query', set: { resourceVersion: '1' } }, 1)
  const changed: string[] = []
  controller = runController({
    name: 'none',
    reconcile: async () => ({ kind: 'done' }),
    keys: () => [],
    signal: stop.signal,
    log: keepLog(),
  })
  const widgets = watch(client, WIDGETS, namespace, { onChange: (name) => changed.push(name), signal: stop.signal, log: keepLog() })
  await widgets.synced
  await direct.delete(WIDGETS, namespace, 'goes')
  await vi.waitFor(() => expect(widgets.get('goes')).toBeUndefined(), PATIENCE)
  await vi.waitFor(() => expect(messages).toContainEqual({ resource: 'widgets', event: 'listed', reason: 'expired' }), PATIENCE)
  expect(old.hits()).toBe(1)
  expect(changed).toEqual(['goes', 'goes'])
  expect(messages).toContainEqual({ resource: 'widgets', event: 'restarted', reason: '410' })
})

const failures: Record<string, { fault: () => { hits?: () => number } & Partial<Disposable>; reason?: string }> = {
  '503': { fault: () => cutWith({ kind: 'answer', status: 503 }), reason: '503' },
  '401': { fault: () => cutWith({ kind: 'answer', status: 401 }), reason: '401' },
  '429': { fault: () => cutWith({ kind: 'answer', status: 429, retryAfterSeconds: 0 }), reason: '429' },
  '500': { fault: () => cutWith({ kind: 'answer', status: 500 }), reason: '500' },
  'connection reset': { fault: () => cutWith({ kind: 'reset' }) },
  'truncated line': { fault: () => each((pipe) => pipe.truncate()), reason: 'TruncatedStream' },
  'orderly end': { fault: () => each((pipe) => pipe.end()) },
}

function cutWith(fault: Parameters<ApiProxy['fail']>[1]) {
  const rule = proxy.fail(isWatch, fault, 3)
  watches()[0]?.reset()
  return rule
}

function each(broken: (pipe: WatchPipe) => void) {
  for (const pipe of watches()) broken(pipe)
  return {}
}

test.for(Object.keys(failures))('OP-07: %s: the watch resumes where it was, without listing again', async (name) => {
  const failure = failures[name]
  if (failure === undefined) throw new Error(`no failure ${name}`)
  await follow()
  await put('before', '1')
  await converge()
  const lists = proxy.calls.filter(isList).length
  const broken = failure.fault()
  await put('during', '1')
  await remove('before')
  const ms = await converge()
  broken[Symbol.dispose]?.()
  if (broken.hits !== undefined) expect(broken.hits()).toBe(3)
  expect(proxy.calls.filter(isList).length).toBe(lists)
  if (failure.reason !== undefined) expect(messages.map((message) => message.reason)).toContain(failure.reason)
  expect(store.age()).toBeLessThan(60_000)
  printFigure(`OP-07 (${name}): blind for ${(ms / 1000).toFixed(2)} s, ${messages.filter((m) => m.event === 'restarted').length} restarts`)
})

test('OP-07: a watch that cannot be resumed again and again is begun anew with a list', async () => {
  await follow()
  await put('before', '1')
  await converge()
  using failing = proxy.fail(isWatch, { kind: 'answer', status: 500 }, 6)
  for (const pipe of watches()) pipe.reset()
  await put('during', '1')
  await converge()
  await vi.waitFor(() => expect(messages).toContainEqual({ resource: 'configmaps', event: 'listed', reason: 'failing' }), PATIENCE)
  expect(failing.hits()).toBeGreaterThanOrEqual(4)
})

test('OP-07: silence is noticed after the idle time and shown meanwhile as age', async () => {
  await follow({ timeoutSeconds: 2, idleMs: 3_000 })
  await put('before', '1')
  await converge()
  for (const pipe of watches()) pipe.blackHole()
  using alsoNew = proxy.fail(isWatch, { kind: 'silence' }, 1)
  let oldest = 0
  const watching = setInterval(() => {
    oldest = Math.max(oldest, store.age())
  }, 50)
  await put('during', '1')
  const ms = await converge()
  clearInterval(watching)
  expect(alsoNew.hits()).toBe(1)
  expect(oldest).toBeGreaterThan(3_000)
  expect(ms).toBeLessThan(2 * 3_000 + 5_000)
  expect(messages.filter((message) => message.reason === 'DeadlineExceeded')).toHaveLength(2)
  printFigure(`OP-07 (black hole twice, idle time 3 s): blind for ${(ms / 1000).toFixed(2)} s, age up to ${(oldest / 1000).toFixed(2)} s`)
})

test('OP-07: with the times of production one black hole blinds for less than 45 s and a quiet watch never looks old', async () => {
  await follow()
  await put('before', '1')
  await converge()
  for (const pipe of watches()) pipe.blackHole()
  await put('during', '1')
  const since = performance.now()
  await vi.waitFor(() => expect(world.has('during')).toBe(true), { timeout: 60_000, interval: 50 })
  const ms = performance.now() - since
  expect(ms).toBeLessThan(45_000)
  printFigure(`OP-07 (black hole, times of production): blind for ${(ms / 1000).toFixed(1)} s`)
})

test('OP-07: a watch that ends in good order when its time is over is resumed at once and is no restart', async () => {
  await follow({ timeoutSeconds: 1, idleMs: 5_000 })
  const before = proxy.calls.filter(isWatch).length
  await vi.waitFor(() => expect(proxy.calls.filter(isWatch).length).toBeGreaterThanOrEqual(before + 3), PATIENCE)
  await put('later', '1')
  await converge()
  expect(messages.filter((message) => message.event === 'restarted')).toEqual([])
  expect(proxy.calls.filter(isList)).toHaveLength(1)
})

test('an exception in a handler neither ends the watch nor the process', async () => {
  const seen: string[] = []
  await follow({}, (name) => {
    seen.push(name)
    controller.enqueue(name)
    throw new Error('the handler is broken')
  })
  await put('one', '1')
  await put('two', '1')
  await converge()
  expect(seen).toEqual(expect.arrayContaining(['one', 'two']))
})

test('managedFields are dropped on arrival, from lists, gets and watches', async () => {
  await put('listed', '1')
  await follow()
  await put('watched', '1')
  await converge()
  expect(store.list().map((object) => 'managedFields' in object.metadata)).toContain(false)
  expect(store.list().some((object) => 'managedFields' in object.metadata)).toBe(false)
  expect(await client.get(CONFIG_MAPS, namespace, 'listed').then((object) => object && 'managedFields' in object.metadata)).toBe(false)
})
