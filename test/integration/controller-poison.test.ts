import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { type Store, watch } from '../../operator/kubernetes/watch.ts'
import { type Controller, type ControllerOptions, type Result, reconcileChannel, runController } from '../../operator/loop/controller.ts'
import { createNamespace, installWidgets, WIDGETS, type Widget } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'

type Pass = { key: string; result: string; durationMs: number; at: number }

const PATIENCE = { timeout: 30_000, interval: 20 }
const GOOD = Array.from({ length: 20 }, (_, i) => `good-${String(i).padStart(2, '0')}`)

let client: Client
let namespace: string
let store: Store<Widget>
let controller: Controller
let stop: AbortController
let passes: Pass[]
let unhandled: unknown[]
const listen = (message: unknown) => void passes.push({ ...Object(message), at: performance.now() })
const complain = (reason: unknown) => void unhandled.push(reason)

beforeAll(async () => {
  await installWidgets()
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
})
afterAll(() => client.close())
beforeEach(async () => {
  namespace = await createNamespace()
  stop = new AbortController()
  passes = []
  unhandled = []
  reconcileChannel.subscribe(listen)
  process.on('unhandledRejection', complain)
})
afterEach(async () => {
  stop.abort(new Error('the test is over'))
  await controller.done
  reconcileChannel.unsubscribe(listen)
  process.off('unhandledRejection', complain)
  expect(unhandled).toEqual([])
})

/** Runs a controller over the namespace's Widgets; `poison` may do anything to the pass of a key. */
async function run(
  poison: (name: string, signal: AbortSignal) => Promise<Result> | undefined,
  options: Partial<ControllerOptions> = {},
): Promise<void> {
  const log = keepLog()
  store = watch(client, WIDGETS, namespace, { onChange: (name) => controller.enqueue(name), signal: stop.signal, log })
  const keys = () => store.list().map((widget) => widget.metadata.name)
  const reconcile = (name: string, signal: AbortSignal) => poison(name, signal) ?? markSeen(name, signal)
  controller = runController({ name: 'widget', reconcile, keys, deadlineMs: 1_000, graceMs: 500, signal: stop.signal, log, ...options })
  await store.synced
}

async function markSeen(name: string, signal: AbortSignal): Promise<Result> {
  const widget = store.get(name)
  if (widget === undefined || widget.status?.seen === widget.spec.wanted) return { kind: 'done' }
  await client.apply(
    WIDGETS,
    namespace,
    { metadata: { name }, status: { seen: widget.spec.wanted ?? '' } },
    { subresource: 'status', signal },
  )
  return { kind: 'done' }
}

function create(name: string, shard = ''): Promise<Widget> {
  return client.create(WIDGETS, namespace, { metadata: { name }, spec: { wanted: 'yes', shard } })
}

/** Creates the good Widgets; gives the longest time that one took until its status was written. */
async function slowestGood(prefix: string, shard = ''): Promise<number> {
  const times = GOOD.map(async (good) => {
    const since = performance.now()
    await create(`${prefix}-${good}`, shard)
    await vi.waitFor(() => expect(store.get(`${prefix}-${good}`)?.status?.seen).toBe('yes'), PATIENCE)
    return performance.now() - since
  })
  return Math.max(...(await Promise.all(times)))
}

function passesOf(key: string): Pass[] {
  return passes.filter((pass) => pass.key === key)
}

const never = () => new Promise<Result>(() => {})

test('OP-25: passes that throw or hang delay no other tenant, and fail with an exponential backoff', async () => {
  await run((name) => {
    if (name.startsWith('throws')) throw new Error('poison, thrown before there was a promise')
    if (name.startsWith('rejects')) return Promise.reject(new Error('poison'))
    return name.startsWith('hangs') ? never() : undefined
  })
  const without = await slowestGood('before')
  const poisoned = ['throws', 'rejects', 'hangs-1', 'hangs-2', 'hangs-3', 'hangs-4']
  for (const name of poisoned) await create(name)
  const beside = await slowestGood('beside')
  await vi.waitFor(() => expect(passesOf('throws').length).toBeGreaterThanOrEqual(5), PATIENCE)

  const gaps = passesOf('throws')
    .map(({ at }, i, all) => at - (all[i - 1]?.at ?? at))
    .slice(1)
  for (const [i, gap] of gaps.entries()) expect(gap).toBeGreaterThan(200 * 2 ** i * 0.7 - 20)
  await vi.waitFor(() => expect(controller.stuck().map(({ key }) => key)).toEqual(poisoned.slice(2)), PATIENCE)
  expect(beside - without).toBeLessThan(3_000)
  printFigure(`OP-25: 20 others ready within ${without.toFixed(0)} ms alone, ${beside.toFixed(0)} ms beside 6 poisoned (4 of them hang)`)
})

test('OP-25: a hung pass is aborted through its signal at its deadline and tried again', async () => {
  await run((name, signal) => {
    if (name !== 'obeys' || passesOf('obeys').length > 0) return undefined
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  await create('obeys')
  await vi.waitFor(() => expect(store.get('obeys')?.status?.seen).toBe('yes'), PATIENCE)
  expect(passesOf('obeys')[0]?.result).toBe('timeout')
  expect(passesOf('obeys')[0]?.durationMs).toBeGreaterThan(900)
  expect(controller.stuck()).toEqual([])
})

test('OP-25: no second pass of a key starts beside one that ignores its signal, however much changes', async () => {
  let atOnce = 0
  let most = 0
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  await run(async (name, signal) => {
    atOnce += 1
    most = Math.max(most, atOnce)
    await released
    atOnce -= 1
    return markSeen(name, signal)
  })
  await create('deaf')
  await vi.waitFor(() => expect(controller.stuck()).toHaveLength(1), PATIENCE)
  for (const round of ['1', '2', '3']) await client.patch(WIDGETS, namespace, 'deaf', { spec: { wanted: round } })
  release()
  await vi.waitFor(() => expect(store.get('deaf')?.status?.seen).toBe('3'), PATIENCE)
  expect(most).toBe(1)
  expect(controller.stuck()).toEqual([])
})

test("OP-25: a Shard whose passes all hang takes no place from another Shard's", async () => {
  await run((name) => (name.startsWith('dead') ? never() : undefined), {
    deadlineMs: 60_000,
    lane: (name) => store.get(name)?.spec.shard ?? '',
  })
  const alone = await slowestGood('before', 'shard-b')
  for (let i = 0; i < 20; i++) await create(`dead-${i}`, 'shard-a')
  await vi.waitFor(() => expect(controller.depth()).toBe(20 - 8), PATIENCE)
  const beside = await slowestGood('beside', 'shard-b')
  expect(controller.depth()).toBe(20 - 8)
  expect(beside - alone).toBeLessThan(3_000)
  printFigure(`OP-25: shard-b ready within ${alone.toFixed(0)} ms alone, ${beside.toFixed(0)} ms beside 20 hung passes of shard-a`)
})
