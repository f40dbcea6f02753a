import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type NatsServer, startNats } from '../../config/local/servers/nats.ts'
import { CREDENTIALS_SECRET, parseRouting, ROUTING_KEY, SHARDS_DOCUMENT, type ShardEndpoint } from '../../config/routing.ts'
import { type Client as ApiClient, connect } from '../../operator/kubernetes/client.ts'
import { CONFIG_MAPS, SECRETS, SHARDS } from '../../operator/kubernetes/object.ts'
import { loginIn } from '../../operator/routing/credentials.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { type Answer, callInTurn, connectionsIn } from '../builders/crowd.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { watchPeak } from '../builders/peak.ts'
import { connectAsSuperuser, connectTo } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { keyOf, tenantManifest } from '../builders/tenant.ts'
import { type RunningRuntime, startClusterRuntime } from '../builders/world.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
/** The operator's settings here let it have 11. */
const BUDGET = 47
/** What one that is removed here takes to end on busy cores has to fit into it. */
const GRACE_SECONDS = 8
const TENANTS = ['database', 'schema', 'schema', 'schema', 'row']
/** Of each tenant: enough that a replica wants every connection that it may have, however fast it serves. */
const CALLERS = 6
const database = `test_${randomBytes(4).toString('hex')}`
const COUNT = connectionsIn(database)
let folder: string
let nats: NatsServer
let namespace: string
let client: ApiClient
let operator: RunningOperator
let superuser: Client
let watcher: Client
let roles: string[]
const runtimes: Promise<RunningRuntime>[] = []
/** Those that a Service would send to. */
const serving: RunningRuntime[] = []
const tokens: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-nats-'))
  nats = await startNats({ folder, durable: false })
  superuser = await connectAsSuperuser(inject('postgres'), 'postgres')
  watcher = await connectAsSuperuser(inject('postgres'), 'postgres')
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [deployment(), autoscaler(2)])
  operator = await startOperator(namespace, {
    TENANTRY_WORKERS: '4',
    TENANTRY_CONNECTIONS_PER_SHARD: '2',
    TENANTRY_RESYNC_SECONDS: '5',
    TENANTRY_USAGE_SECONDS: '1',
  })
  await applyAll(namespace, [
    shardManifest('shard-a', shardSpec(database, { capacity: { tenants: 1_000, connections: BUDGET } })),
    ...TENANTS.map((isolation, number) => tenantManifest(`t-${number}`, { plan: 'premium', isolation })),
  ])
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'tenants', '--all', '--timeout=90s'])
  roles = (await get('tenants')).items.map((tenant: { status: { role: string } }) => tenant.status.role)
  for (const number of TENANTS.keys()) tokens.push(await keyOf(namespace, `t-${number}`))
  await add(2)
})

afterAll(async () => {
  over = true
  await Promise.allSettled(runtimes.map(async (runtime) => (await runtime).stop()))
  await operator?.stop()
  await client?.close()
  await nats?.stop()
  await superuser?.end()
  await watcher?.end()
  await rm(folder, { recursive: true, force: true })
})

function deployment(): object {
  const labels = { app: 'runtime' }
  const template = {
    metadata: { labels },
    spec: { terminationGracePeriodSeconds: GRACE_SECONDS, containers: [{ name: 'runtime', image: 'runtime' }] },
  }
  const strategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }
  const spec = { replicas: 2, minReadySeconds: GRACE_SECONDS, strategy, selector: { matchLabels: labels }, template }
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'tenantry-runtime' }, spec }
}

function autoscaler(maxReplicas: number): object {
  const spec = {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'tenantry-runtime' },
    minReplicas: 2,
    maxReplicas,
    behavior: { scaleDown: { policies: [{ type: 'Pods', value: 1, periodSeconds: GRACE_SECONDS }] } },
  }
  return { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { name: 'tenantry-runtime' }, spec }
}

const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const connectionsOf = async () => (await client.get(SHARDS, namespace, 'shard-a'))?.status?.connections

/** Where the Shard is, as the runtimes are told. */
async function published(): Promise<ShardEndpoint | undefined> {
  const document = parseRouting((await client.get(CONFIG_MAPS, namespace, SHARDS_DOCUMENT))?.data?.[ROUTING_KEY] ?? '')
  return document.ok ? document.value.shards['shard-a'] : undefined
}

let over = true

/** What the Deployment controller would write. */
async function tellReplicas(replicas: number): Promise<void> {
  const patch = JSON.stringify({ status: { replicas } })
  await kubectl(['patch', 'deployment', 'tenantry-runtime', '-n', namespace, '--subresource=status', '--type=merge', '-p', patch])
}

/** So many replicas more, which serve once they say that they are ready. */
async function add(count: number): Promise<void> {
  const come = async () => {
    const started = startClusterRuntime(namespace, { TENANTRY_NATS_URL: nats.url })
    runtimes.push(started)
    const runtime = await started
    await vi.waitFor(async () => expect((await fetch(`${runtime.url}/health/ready`)).status).toBe(200), PATIENCE)
    serving.push(runtime)
  }
  await Promise.all(Array.from({ length: count }, come))
}

/** The oldest goes, as a pod does: no more is sent to it, then it drains. */
async function remove(): Promise<void> {
  const runtime = serving.shift()
  if (runtime === undefined) throw new Error('there is none')
  await pause(200)
  await runtime.stop()
}

/** Each caller, a new task and two reads in turn, at any replica that serves, until `during` is done. */
async function underTraffic(during: () => Promise<void>): Promise<{ answers: Answer[]; most: number }> {
  const peak = watchPeak(watcher, COUNT.all, [roles, inject('postgres').adminUser])
  const answers: Answer[] = []
  over = false
  const anyOf = () => serving[Math.floor(Math.random() * serving.length)]?.url ?? ''
  const call = async (token: string) => {
    for (let round = 0; !over; round += 1) {
      answers.push(await callInTurn(anyOf(), token, round))
      await pause(10)
    }
  }
  const callers = Array.from({ length: CALLERS }, () => tokens.map(call)).flat()
  try {
    await during()
  } finally {
    over = true
    await Promise.allSettled([...callers, peak.stop()])
  }
  await Promise.all(callers)
  return { answers, most: await peak.stop() }
}

/** What was not served, where much is to be done by few connections, was refused with a time to come again. */
function judge(answers: readonly Answer[]): { served: number; refused: number } {
  const refused = answers.filter(({ status }) => status >= 400)
  expect(refused.filter(({ status, retryAfter }) => status !== 503 || retryAfter === null)).toEqual([])
  expect(refused.length).toBeLessThan(0.1 * answers.length)
  return { served: answers.length - refused.length, refused: refused.length }
}

/** How many connections each replica has that has any, the largest number first. */
async function byReplica(): Promise<number[]> {
  return (await superuser.query(COUNT.byReplica, [roles])).rows.map(({ count }) => count)
}

const mostOfOne = async () => (await byReplica())[0] ?? 0

/** A replica that gives nothing back: so many connections of the runtime's login under one name. Gives how to end them. */
async function holdConnections(count: number): Promise<() => Promise<unknown>> {
  const login = loginIn(await client.get(SECRETS, namespace, CREDENTIALS_SECRET), 'shard-a')
  const held = await Promise.all(Array.from({ length: count }, () => connectTo(inject('postgres'), database, login)))
  await Promise.all(held.map((one) => one.query("SET application_name = 'tenantry-runtime/held'")))
  return () => Promise.all(held.map((one) => one.end()))
}

test('HT-15: while the maximum goes from 2 to 6, and the replicas at once with it, the server never has more than the budget', async () => {
  await vi.waitFor(async () => expect(await connectionsOf()).toMatchObject({ replicas: 5, perReplica: 7 }), PATIENCE)
  const { answers, most } = await underTraffic(async () => {
    // Those that serve take what they may have.
    await vi.waitFor(async () => expect(await mostOfOne()).toBeGreaterThan(4), PATIENCE)
    const release = await holdConnections(5)
    await applyAll(namespace, [autoscaler(6)])
    const added = add(4)
    for (const { url } of await Promise.all(runtimes)) {
      const health = await (await fetch(`${url}/health/ready`)).json()
      expect(health).toMatchObject({ checks: { routing: serving.some((one) => one.url === url) } })
    }
    // One that gives nothing back, and the two that serve, which have: nobody else has any.
    await vi.waitFor(async () => expect((await byReplica())[1]).toBeLessThanOrEqual(4), PATIENCE)
    expect(await published()).toMatchObject({ connections: 4, settling: true })
    expect([serving.length, (await byReplica()).length]).toEqual([2, 3])
    await release()
    await added
    expect(await published()).toMatchObject({ connections: 4 })
    await tellReplicas(6)
    await vi.waitFor(async () => expect((await byReplica()).length).toBe(6), PATIENCE)
  })
  const { served, refused } = judge(answers)
  expect(await connectionsOf()).toMatchObject({ replicas: 9, perReplica: 4 })
  expect(await mostOfOne()).toBeLessThanOrEqual(4)
  printFigure(`HT-15: budget ${BUDGET}, maximum 2 to 6: at most ${most} connections; ${served} requests served, ${refused} refused`)
  expect(most).toBeLessThanOrEqual(BUDGET)
})

test('HT-15: the same through an update that replaces one after the other', async () => {
  const { answers, most } = await underTraffic(async () => {
    for (let replaced = 0; replaced < 2; replaced += 1) {
      await add(1)
      await remove()
    }
  })
  const { served, refused } = judge(answers)
  printFigure(`HT-15: budget ${BUDGET}, two of six replaced: at most ${most} connections; ${served} requests served, ${refused} refused`)
  expect(most).toBeLessThanOrEqual(BUDGET)
})

test('HT-15: while the maximum goes back to 2 nobody takes more before those that are too many have ended', async () => {
  const early: (number | undefined)[] = []
  const { answers, most } = await underTraffic(async () => {
    await applyAll(namespace, [autoscaler(2)])
    while (serving.length > 2) {
      await remove()
      await tellReplicas(serving.length)
      early.push((await published())?.connections)
    }
    await vi.waitFor(async () => expect(await published()).toMatchObject({ connections: 7 }), PATIENCE)
    await vi.waitFor(async () => expect(await mostOfOne()).toBeGreaterThan(4), PATIENCE)
  })
  const { served, refused } = judge(answers)
  expect(early).toEqual([4, 4, 4, 4])
  printFigure(`HT-15: budget ${BUDGET}, maximum 6 to 2: at most ${most} connections; ${served} requests served, ${refused} refused`)
  expect(most).toBeLessThanOrEqual(BUDGET)
})
