import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { removeWithMe } from '../../config/local/guard.ts'
import { type ControlPlane, startControlPlane } from '../../config/local/servers/control-plane.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, type ConfigMap } from '../../operator/kubernetes/object.ts'
import { watch, watchChannel } from '../../operator/kubernetes/watch.ts'
import { handClock } from '../builders/clock.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'
import { type ApiProxy, type ProxiedCall, startApiProxy } from '../faults/api-proxy.ts'
import { compactEtcd } from '../faults/compact.ts'

const NAMESPACE = 'default'
const PATIENCE = { timeout: 60_000, interval: 20 }
const isWatch = (call: ProxiedCall) => call.watch && call.path.endsWith(`/${NAMESPACE}/configmaps`)

// A control plane of its own, since its history is taken away from it.
let folder: string
let plane: ControlPlane
let proxy: ApiProxy
let direct: Client
let client: Client

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-compaction-'))
  removeWithMe(folder)
  plane = await start()
  proxy = await startApiProxy(plane.kubeconfig)
  direct = connect({ kubeconfig: plane.kubeconfig })
  client = connect({ kubeconfig: proxy.kubeconfig })
}, 120_000)
afterAll(async () => {
  await client.close()
  await direct.close()
  await proxy[Symbol.asyncDispose]()
  await plane.stop()
  await rm(folder, { recursive: true, force: true })
})

/** Starts what does not run, on the data and ports of before. */
function start(): Promise<ControlPlane> {
  return startControlPlane({ folder, durable: false })
}

function put(name: string, value: string): Promise<ConfigMap> {
  return direct.apply(CONFIG_MAPS, NAMESPACE, { metadata: { name }, data: { value } })
}

function valuesOf(objects: readonly ConfigMap[]): Record<string, string | undefined> {
  return Object.fromEntries(objects.map(({ metadata, data }) => [metadata.name, data?.value]))
}

test('OP-06: what happened before a compaction of etcd, with the watch away, is noticed by a list', { timeout: 180_000 }, async () => {
  const messages: unknown[] = []
  const listen = (message: unknown) => void messages.push(message)
  watchChannel.subscribe(listen)
  const stop = new AbortController()
  // A watch that was cut waits until this clock goes on.
  const clock = handClock()
  const changed: string[] = []
  const store = watch(client, CONFIG_MAPS, NAMESPACE, {
    onChange: (name) => changed.push(name),
    idleMs: 600_000,
    clock,
    signal: stop.signal,
    log: keepLog(),
  })
  await store.synced
  for (const name of ['stays', 'goes', 'changes']) await put(name, '1')
  await vi.waitFor(() => expect(valuesOf(store.list())).toMatchObject({ stays: '1', goes: '1', changes: '1' }), PATIENCE)

  proxy.watches(isWatch)[0]?.reset()
  await vi.waitFor(() => expect(proxy.watches(isWatch)).toEqual([]), PATIENCE)
  await direct.delete(CONFIG_MAPS, NAMESPACE, 'goes')
  await put('changes', '2')
  await put('comes', '1')
  const { items, resourceVersion = '' } = await direct.list(CONFIG_MAPS, NAMESPACE)
  await compactEtcd(folder, resourceVersion)
  // An API server that has gone on would still know from its own memory what etcd has forgotten.
  await plane.apiServer.stop()
  plane = await start()

  const [since, before] = [performance.now(), messages.length]
  changed.length = 0
  await vi.waitFor(async () => {
    await clock.pass(500)
    expect(valuesOf(store.list())).toEqual(valuesOf(items))
  }, PATIENCE)
  const seconds = (performance.now() - since) / 1_000
  expect(valuesOf(items)).toMatchObject({ stays: '1', changes: '2', comes: '1' })
  expect(changed).toEqual(expect.arrayContaining(['goes', 'changes', 'comes']))
  expect(messages.slice(before)).toContainEqual({ resource: 'configmaps', event: 'restarted', reason: '410' })
  expect(messages.slice(before)).toContainEqual({ resource: 'configmaps', event: 'listed', reason: 'expired' })
  printFigure(`OP-06 (compacted): converged ${seconds.toFixed(2)} s after the watch could be had again`)
  stop.abort(new Error('the test is over'))
  watchChannel.unsubscribe(listen)
})
