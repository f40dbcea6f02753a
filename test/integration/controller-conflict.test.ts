import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS } from '../../operator/kubernetes/object.ts'
import { type Store, watch } from '../../operator/kubernetes/watch.ts'
import { type Controller, type Result, runController } from '../../operator/loop/controller.ts'
import { createNamespace, installWidgets, kubectl, WIDGETS, type Widget } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'
import { type ApiProxy, startApiProxy } from '../faults/api-proxy.ts'

const HOT_MS = 60_000
const NEIGHBOURS = 5

let direct: Client
let client: Client
let proxy: ApiProxy
let namespace: string
let store: Store<Widget>
let controller: Controller
const passes = new Map<string, number>()
const stop = new AbortController()

beforeAll(async () => {
  await installWidgets()
  namespace = await createNamespace()
  direct = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  proxy = await startApiProxy(inject('kubernetes').kubeconfig)
  client = connect({ kubeconfig: proxy.kubeconfig })
  const log = keepLog()
  store = watch(client, WIDGETS, namespace, { onChange: (name) => controller.enqueue(name), signal: stop.signal, log })
  const keys = () => store.list().map((widget) => widget.metadata.name)
  controller = runController({ name: 'widget', reconcile, keys, signal: stop.signal, log })
  await store.synced
})
afterAll(async () => {
  stop.abort(new Error('the tests are over'))
  await controller.done
  await client.close()
  await direct.close()
  await proxy[Symbol.asyncDispose]()
})

/** Copies `spec.wanted` into a ConfigMap and into the status, as the operator writes its own: by server-side apply, only when it changed. */
async function reconcile(name: string, signal: AbortSignal): Promise<Result> {
  passes.set(name, (passes.get(name) ?? 0) + 1)
  const widget = store.get(name)
  if (widget === undefined) return { kind: 'done' }
  const wanted = widget.spec.wanted ?? ''
  await client.apply(CONFIG_MAPS, namespace, { metadata: { name }, data: { wanted } }, { signal })
  if (widget.status?.seen !== wanted)
    await client.apply(WIDGETS, namespace, { metadata: { name }, status: { seen: wanted } }, { subresource: 'status', signal })
  return { kind: 'done' }
}

/** A person's program that writes the Widget, its status and its ConfigMap as fast as it can, each time from what it has read. */
async function writeHot(name: string, until: number): Promise<{ rounds: number; conflicts: number }> {
  const seen = { rounds: 0, conflicts: 0 }
  while (performance.now() < until) {
    seen.rounds += 1
    const round = String(seen.rounds)
    try {
      const before = await direct.get(WIDGETS, namespace, name)
      const metadata = { resourceVersion: before?.metadata.resourceVersion, labels: { round } }
      await direct.patch(WIDGETS, namespace, name, { metadata, spec: { wanted: round } })
      await direct.patch(WIDGETS, namespace, name, { status: { note: round } }, { subresource: 'status' })
      await direct.patch(CONFIG_MAPS, namespace, name, { data: { theirs: round } })
    } catch {
      seen.conflicts += 1
    }
  }
  return seen
}

async function timeToSeen(name: string): Promise<number> {
  const since = performance.now()
  await direct.create(WIDGETS, namespace, { metadata: { name }, spec: { wanted: 'calm' } })
  await vi.waitFor(() => expect(store.get(name)?.status?.seen).toBe('calm'), { timeout: 20_000, interval: 20 })
  return performance.now() - since
}

test('OP-08: a second writer in a hot loop loses nothing, is starved of nothing and starves nobody', {
  timeout: HOT_MS + 60_000,
}, async () => {
  await direct.create(WIDGETS, namespace, { metadata: { name: 'hot' }, spec: { wanted: '0' } })
  await vi.waitFor(async () => expect(await direct.get(CONFIG_MAPS, namespace, 'hot')).toBeDefined(), { timeout: 20_000 })
  const loop = writeHot('hot', performance.now() + HOT_MS)
  const times: number[] = []
  for (let i = 0; i < NEIGHBOURS; i++) times.push(await timeToSeen(`neighbour-${i}`))
  const { rounds, conflicts } = await loop

  // One last round without a rival, so that the test knows what the writer's last word was.
  const last = `${rounds + 1}`
  await direct.patch(WIDGETS, namespace, 'hot', { metadata: { labels: { round: last } }, spec: { wanted: last } })
  await direct.patch(WIDGETS, namespace, 'hot', { status: { note: last } }, { subresource: 'status' })
  await direct.patch(CONFIG_MAPS, namespace, 'hot', { data: { theirs: last } })
  await vi.waitFor(() => expect(store.get('hot')?.status).toEqual({ seen: last, note: last }), { timeout: 20_000 })
  await vi.waitFor(async () => expect((await direct.get(CONFIG_MAPS, namespace, 'hot'))?.data).toEqual({ wanted: last, theirs: last }), {
    timeout: 20_000,
  })
  expect(store.get('hot')?.metadata.labels).toEqual({ round: last })

  const ours = passes.get('hot') ?? 0
  const refused = proxy.calls.filter((call) => call.status === 409).length
  expect(ours).toBeGreaterThan(rounds / 20)
  expect(refused / ours).toBeLessThan(1)
  expect(Math.max(...times)).toBeLessThan(5_000)
  printFigure(
    `OP-08: ${rounds} rounds of the writer in ${HOT_MS / 1000} s (${conflicts} of them met a conflict), ${ours} passes, ` +
      `${(refused / ours).toFixed(2)} times 409 a pass, neighbours ready in ${Math.max(...times).toFixed(0)} ms at most`,
  )
})

test('OP-08: server-side apply owns our fields and no others', async () => {
  const shown = await kubectl(['get', 'configmap', 'hot', '-n', namespace, '--show-managed-fields', '-o', 'json'])
  const { metadata }: { metadata: { managedFields: { manager: string; operation: string; fieldsV1: unknown }[] } } = JSON.parse(shown)
  const applied = metadata.managedFields.filter(({ operation }) => operation === 'Apply')
  expect(applied).toMatchObject([{ manager: 'tenantry-operator', fieldsV1: { 'f:data': { 'f:wanted': {} } } }])
  expect(JSON.stringify(applied)).not.toContain('f:theirs')
})

test.for([409, 500, 503])('OP-08: %i on the status write is tried again with a backoff until it holds', async (status) => {
  const name = `refused-${status}`
  using refused = proxy.fail((call) => call.path.endsWith(`/${name}/status`), { kind: 'answer', status }, 3)
  const ms = await timeToSeen(name)
  expect(refused.hits()).toBe(3)
  expect(passes.get(name)).toBeLessThanOrEqual(6)
  expect(ms).toBeGreaterThan(200 * 0.7)
})
