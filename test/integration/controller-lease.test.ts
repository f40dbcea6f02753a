import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest'
import { z } from 'zod'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { type HeldLease, holdLease, LeaseLost, leaderChannel } from '../../operator/kubernetes/lease.ts'
import { CONFIG_MAPS, LEASES, type LeaseSpec } from '../../operator/kubernetes/object.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'
import { type ApiProxy, type ProxiedCall, startApiProxy } from '../faults/api-proxy.ts'

const lineSchema = z.object({ event: z.enum(['waits', 'holds', 'lost', 'released']), identity: z.string(), at: z.number() })
type Line = z.infer<typeof lineSchema>
type Replica = { process: ChildProcess; lines: Line[] }

const HOLDER = new URL('../faults/lease-holder.ts', import.meta.url).pathname
const PATIENCE = { timeout: 60_000, interval: 20 }
/** Three processes that load a Kubernetes client take their time on a busy machine. */
const SLOW = { timeout: 180_000 }
/** A fifth of the times of production, for the tests that end with a lost lease. */
const TIMES = { durationMs: 3_000, renewDeadlineMs: 2_000, retryMs: 400 }
const isLease = (call: ProxiedCall) => call.path.includes('/leases')

let direct: Client
let client: Client
let proxy: ApiProxy
let namespace: string
let replicas: Replica[]
let held: HeldLease[]
let stop: AbortController

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
  replicas = []
  held = []
  stop = new AbortController()
})
afterEach(async () => {
  stop.abort(new Error('the test is over'))
  for (const { process } of replicas) process.kill('SIGKILL')
  for (const lease of held) await lease.release()
})

function startReplica(kubeconfig = inject('kubernetes').kubeconfig, times = {}): Replica {
  const args = [HOLDER, '--kubeconfig', kubeconfig, '--namespace', namespace, '--times', JSON.stringify(times)]
  const process = spawn(globalThis.process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: Line[] = []
  if (process.stdout !== null) createInterface(process.stdout).on('line', (line) => lines.push(lineSchema.parse(JSON.parse(line))))
  const replica = { process, lines }
  replicas.push(replica)
  return replica
}

/** The replicas that were told they hold the lease and have not been heard of since. */
function leaders(): Replica[] {
  return replicas.filter(
    ({ lines, process }) => lines.at(-1)?.event === 'holds' && process.exitCode === null && process.signalCode === null,
  )
}

async function waitForLeader(): Promise<Replica> {
  await vi.waitFor(() => expect(leaders()).toHaveLength(1), PATIENCE)
  const [leader] = leaders()
  if (leader === undefined) throw new Error('nobody leads')
  return leader
}

/** Starts three replicas, ends the leader with a signal; gives the seconds until another leads. */
async function failover(signal: NodeJS.Signals): Promise<{ seconds: number; leader: Replica; next: Replica }> {
  for (let i = 0; i < 3; i++) startReplica()
  await vi.waitFor(() => expect(replicas.every(({ lines }) => lines.length > 0)).toBe(true), PATIENCE)
  const leader = await waitForLeader()
  const exited = once(leader.process, 'exit')
  const since = Date.now()
  leader.process.kill(signal)
  await exited
  const next = await waitForLeader()
  return { seconds: ((next.lines.at(-1)?.at ?? 0) - since) / 1000, leader, next }
}

function hold(options: Partial<Parameters<typeof holdLease>[0]>): Promise<HeldLease> {
  const started = holdLease({
    client,
    namespace,
    name: 'lease',
    identity: 'one',
    ...TIMES,
    signal: stop.signal,
    log: keepLog(),
    ...options,
  })
  started.then((lease) => held.push(lease)).catch(() => {})
  return started
}

async function leaseNow(): Promise<LeaseSpec> {
  const lease = await direct.get(LEASES, namespace, 'lease')
  return lease?.spec ?? {}
}

test('OP-10: a leader that ends in good order hands over within one retry', SLOW, async () => {
  const { seconds, leader, next } = await failover('SIGTERM')
  expect(leader.process.exitCode).toBe(0)
  expect(leader.lines.at(-1)?.event).toBe('released')
  expect(next.lines.at(-1)?.at).toBeGreaterThanOrEqual(leader.lines.find(({ event }) => event === 'holds')?.at ?? 0)
  expect(seconds).toBeLessThan(2.4 + 2)
  printFigure(`OP-10: graceful failover ${seconds.toFixed(2)} s (3 replicas, 15 s / 10 s / 2 s)`)
})

test('OP-10: a killed leader is followed within lease and retry', SLOW, async () => {
  const { seconds } = await failover('SIGKILL')
  expect(seconds).toBeLessThan(15 + 2.4 + 2)
  expect(seconds).toBeGreaterThan(12)
  printFigure(`OP-10: failover after SIGKILL ${seconds.toFixed(2)} s (3 replicas, 15 s / 10 s / 2 s)`)
})

test.for(['answer', 'silence', 'reset', 'lose-answer'] as const)(
  'lease lost by %s: the holder ends before another can hold',
  SLOW,
  async (kind) => {
    const leader = startReplica(proxy.kubeconfig, TIMES)
    await waitForLeader()
    const exited = once(leader.process, 'exit')
    const next = startReplica(inject('kubernetes').kubeconfig, TIMES)
    const isWrite = (call: ProxiedCall) => isLease(call) && call.path.includes(namespace)
    using fault = proxy.fail(isWrite, kind === 'answer' ? { kind, status: 503 } : { kind })
    await exited
    expect(leader.process.exitCode).toBe(1)
    expect(fault.hits()).toBeGreaterThan(0)
    await vi.waitFor(() => expect(next.lines.at(-1)?.event).toBe('holds'), PATIENCE)
    const [lostAt, heldAt] = [leader.lines.at(-1)?.at ?? 0, next.lines.at(-1)?.at ?? 0]
    expect(heldAt).toBeGreaterThan(lostAt)
    printFigure(`lease lost by ${kind}: nobody led for ${((heldAt - lostAt) / 1000).toFixed(2)} s (lease 3 s, renewal 2 s)`)
  },
)

test('a lease that another has taken is lost at the next renewal', async () => {
  const leading: unknown[] = []
  const listen = (message: unknown) => void leading.push(message)
  leaderChannel.subscribe(listen)
  const lease = await hold({ client: direct })
  await direct.patch(LEASES, namespace, 'lease', { spec: { holderIdentity: 'thief' } })
  await vi.waitFor(() => expect(lease.lost.aborted).toBe(true), PATIENCE)
  expect(lease.lost.reason).toBeInstanceOf(LeaseLost)
  await lease.release()
  leaderChannel.unsubscribe(listen)
  expect((await leaseNow()).holderIdentity).toBe('thief')
  expect(leading).toEqual([true, false].map((leads) => ({ name: 'lease', identity: 'one', leading: leads })))
})

test('a renewal whose answer is lost, or that meets a conflict, does not cost the lease', async () => {
  const lease = await hold({})
  using lost = proxy.fail((call) => isLease(call) && call.method === 'PATCH', { kind: 'lose-answer' }, 1)
  await vi.waitFor(() => expect(lost.hits()).toBe(1), PATIENCE)
  await direct.patch(LEASES, namespace, 'lease', { metadata: { labels: { touched: 'by-a-person' } } })
  const before = (await leaseNow()).renewTime
  await vi.waitFor(async () => expect((await leaseNow()).renewTime).not.toBe(before), PATIENCE)
  expect(lease.lost.aborted).toBe(false)
  await lease.release()
  expect((await leaseNow()).holderIdentity).toBe('')
  expect(lease.lost.aborted).toBe(false)
})

test('an API server that is away at the start is waited for, and the signal ends the waiting', async () => {
  using away = proxy.fail(isLease, { kind: 'answer', status: 500 }, 2)
  await hold({ identity: 'one' })
  expect(away.hits()).toBe(2)
  const waiting = hold({ client: direct, identity: 'two' })
  stop.abort(new Error('no longer wanted'))
  await expect(waiting).rejects.toThrow('no longer wanted')
})

test.skipIf(!inject('kubernetes').garbageCollection)(
  'a lease that goes with its namespace is held until the namespace is gone',
  async () => {
    const waits = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'waits', finalizers: ['test.tenantry.dev/waits'] } }
    await kubectl(['apply', '-n', namespace, '-f', '-'], JSON.stringify(waits))
    const lease = await hold({})
    await kubectl(['delete', 'namespace', namespace, '--wait=false'])
    await vi.waitFor(async () => expect(await direct.get(LEASES, namespace, 'lease')).toBeUndefined(), PATIENCE)
    const refused = () => proxy.calls.filter((call) => isLease(call) && call.method === 'POST' && call.path.includes(namespace)).length - 1
    // Each renewal tries once: more of them than fit into the time after which a lease that is not renewed is lost.
    await vi.waitFor(() => expect(refused()).toBeGreaterThan(2 * (TIMES.renewDeadlineMs / TIMES.retryMs)), PATIENCE)
    expect(lease.lost.aborted).toBe(false)
    const stranger = hold({ client: direct, identity: 'two' })
    await kubectl(['patch', 'configmap', 'waits', '-n', namespace, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'])
    await vi.waitFor(() => expect(lease.lost.aborted).toBe(true), PATIENCE)
    stop.abort(new Error('the test is over'))
    await expect(stranger).rejects.toThrow('the test is over')
  },
)

test.skipIf(!inject('kubernetes').garbageCollection)(
  'a lease that goes with its namespace is held on in what stands in for it: never by two, and another takes over from there',
  async () => {
    const [waits, standIn] = ['waits', 'stands-in'].map((name) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, finalizers: ['test.tenantry.dev/waits'] },
    }))
    await kubectl(['apply', '-n', namespace, '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [waits, standIn] }))
    const letGo = (name: string) =>
      kubectl(['patch', 'configmap', name, '-n', namespace, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'])
    const options = { client: direct, standIn: { resource: CONFIG_MAPS, name: 'stands-in' } }
    const record = async (): Promise<LeaseSpec> =>
      JSON.parse((await direct.get(CONFIG_MAPS, namespace, 'stands-in'))?.metadata.annotations?.['tenantry.dev/lease'] ?? '{}')
    const lease = await hold(options)
    const waiting = hold({ ...options, identity: 'two' })
    let two: HeldLease | undefined
    void waiting.then((won) => {
      two = won
    })
    await kubectl(['delete', 'namespace', namespace, '--wait=false'])
    await vi.waitFor(async () => expect(await record()).toMatchObject({ holderIdentity: 'one' }), PATIENCE)
    const { renewTime } = await record()
    // Longer than one who waits would wait for a holder that says nothing.
    const patient = (later: LeaseSpec) => Date.parse(later.renewTime ?? '') - Date.parse(renewTime ?? '') > 2 * TIMES.durationMs
    await vi.waitFor(async () => expect(patient(await record())).toBe(true), PATIENCE)
    expect([lease.lost.aborted, two]).toEqual([false, undefined])
    await lease.release()
    await waiting
    expect(await record()).toMatchObject({ holderIdentity: 'two' })
    await letGo('stands-in')
    await vi.waitFor(async () => expect(await direct.get(CONFIG_MAPS, namespace, 'stands-in')).toBeUndefined(), PATIENCE)
    expect(two?.lost.aborted).toBe(false)
    await letGo('waits')
    await kubectl(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=60s'])
    await vi.waitFor(() => expect(two?.lost.aborted).toBe(true), PATIENCE)
  },
)
