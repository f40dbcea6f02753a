import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { type NatsServer, startNats } from '../../config/local/servers/nats.ts'
import type { ShardStatus } from '../../crds/shard.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { type Answer, callInTurn, connectionsIn } from '../builders/crowd.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { watchPeak } from '../builders/peak.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { keyOf, tenantManifest } from '../builders/tenant.ts'
import { type RunningRuntime, startClusterRuntime } from '../builders/world.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const BUDGET = 23
/** The operator's settings here let it have 11, and what is left is for two replicas. */
const PER_REPLICA = 6
const TENANTS = [
  ...Array.from({ length: 10 }, (_, number) => ['database', `d-${number}`]),
  ['schema', 's-0'],
  ['schema', 's-1'],
  ['row', 'r-0'],
]
const database = `test_${randomBytes(4).toString('hex')}`
const COUNT = connectionsIn(database)
let folder: string
let nats: NatsServer
let namespace: string
let operator: RunningOperator
let superuser: Client
let watcher: Client
let roles: string[]
const runtimes: RunningRuntime[] = []
const tokens: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-nats-'))
  nats = await startNats({ folder, durable: false })
  superuser = await connectAsSuperuser(inject('postgres'), 'postgres')
  watcher = await connectAsSuperuser(inject('postgres'), 'postgres')
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  operator = await startOperator(namespace, {
    TENANTRY_WORKERS: '4',
    TENANTRY_CONNECTIONS_PER_SHARD: '2',
    TENANTRY_RESYNC_SECONDS: '2',
    TENANTRY_USAGE_SECONDS: '1',
  })
  await applyAll(namespace, [
    shardManifest('shard-a', shardSpec(database, { capacity: { tenants: 1_000, connections: BUDGET } })),
    ...TENANTS.map(([isolation, name]) => tenantManifest(String(name), { plan: 'premium', isolation })),
  ])
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'tenants', '--all', '--timeout=90s'])
  roles = (await get('tenants')).items.map((tenant: { status: { role: string } }) => tenant.status.role)
  for (const [, name] of TENANTS) tokens.push(await keyOf(namespace, String(name)))
  for (let replica = 0; replica < 2; replica += 1) runtimes.push(await startClusterRuntime(namespace, { TENANTRY_NATS_URL: nats.url }))
})

afterAll(async () => {
  await Promise.all(runtimes.map((runtime) => runtime.stop()))
  await operator?.stop()
  await nats?.stop()
  await superuser?.end()
  await watcher?.end()
  await rm(folder, { recursive: true, force: true })
})

const get = async (...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const statusOf = async (): Promise<ShardStatus> => (await get('shard', 'shard-a')).status
const readyOf = async () => (await statusOf()).conditions?.find(({ type }) => type === 'Ready')
const allow = (connections: number) =>
  kubectl(['patch', 'shard', 'shard-a', '-n', namespace, '--type=merge', '-p', JSON.stringify({ spec: { capacity: { connections } } })])

/** Each tenant at both replicas, a new task and two reads in turn, `rounds` times; a caller for each. */
async function traffic(rounds: number): Promise<Answer[]> {
  const callers = runtimes.flatMap(({ url }) =>
    tokens.map(async (token) => {
      const answers: Answer[] = []
      for (let round = 0; round < rounds; round += 1) {
        answers.push(await callInTurn(url, token, round))
        await pause(5)
      }
      return answers
    }),
  )
  return (await Promise.all(callers)).flat()
}

/** Sends traffic, and gives its answers with the most connections there were meanwhile: of the whole platform, and of the runtimes. */
async function underTraffic(rounds: number): Promise<{ answers: Answer[]; all: number; ofRuntimes: number }> {
  const all = watchPeak(superuser, COUNT.all, [roles, inject('postgres').adminUser])
  const ofRuntimes = watchPeak(watcher, COUNT.ofRuntimes, [roles])
  const answers = await traffic(rounds)
  return { answers, all: await all.stop(), ofRuntimes: await ofRuntimes.stop() }
}

/** What was not served was refused at once with a time to come again. */
function judge(answers: readonly Answer[]): { served: number; refused: number } {
  const refused = answers.filter(({ status }) => status >= 400)
  expect(refused.filter(({ status, retryAfter, ms }) => status !== 503 || retryAfter === null || ms > 4_000)).toEqual([])
  return { served: answers.length - refused.length, refused: refused.length }
}

test('HT-15: two replicas under traffic of thirteen tenants, ten with a database, and the operator at work stay within the budget', async () => {
  await vi.waitFor(async () => expect((await statusOf()).connections).toMatchObject({ budget: BUDGET, perReplica: PER_REPLICA }), PATIENCE)
  const { answers, all, ofRuntimes } = await underTraffic(30)
  const { served, refused } = judge(answers)
  printFigure(
    `HT-15: budget ${BUDGET}: at most ${all} connections, ${ofRuntimes} of them of two replicas; ${served} requests served, ${refused} refused`,
  )
  expect(ofRuntimes).toBeGreaterThan(PER_REPLICA)
  expect(ofRuntimes).toBeLessThanOrEqual(2 * PER_REPLICA)
  expect(all).toBeLessThanOrEqual(BUDGET)
  expect(served).toBeGreaterThan(0.9 * answers.length)
})

test('HT-15: every event was relayed and counted all the same', async () => {
  const totals = () =>
    Promise.all(
      tokens.map(async (token) => {
        const response = await fetch(new URL('/v1/tasks/statistics', runtimes[0]?.url), { headers: { 'x-api-key': token } })
        return ((await response.json()) as { total?: number }).total
      }),
    )
  const made = async () =>
    Promise.all(
      (await get('tenants')).items.map(
        async ({ metadata, status }: { metadata: { uid: string }; status: { database: string; schema: string } }) => {
          const client = await connectAsSuperuser(inject('postgres'), status.database)
          const { rows } = await client.query(`SELECT count(*)::int AS count FROM "${status.schema}".tasks WHERE tenant_id = $1`, [
            metadata.uid,
          ])
          await client.end()
          return rows[0].count
        },
      ),
    )
  const expected = (await made()).sort((a, b) => a - b)
  expect(Math.min(...expected)).toBeGreaterThan(0)
  await vi.waitFor(async () => expect((await totals()).sort((a, b) => Number(a) - Number(b))).toEqual(expected), PATIENCE)
})

test('HT-15: a smaller budget is taken over by runtimes that serve', async () => {
  await allow(17)
  await vi.waitFor(async () => expect((await statusOf()).connections).toMatchObject({ budget: 17, perReplica: 3 }), PATIENCE)
  const open = async () => Number((await superuser.query(COUNT.ofRuntimes, [roles])).rows[0]?.count)
  await Promise.all([traffic(10).then(judge), vi.waitFor(async () => expect(await open()).toBeLessThanOrEqual(6), PATIENCE)])
  const { answers, all, ofRuntimes } = await underTraffic(20)
  const { served, refused } = judge(answers)
  printFigure(
    `HT-15: budget 17: at most ${all} connections, ${ofRuntimes} of them of two replicas; ${served} requests served, ${refused} refused`,
  )
  expect(ofRuntimes).toBeLessThanOrEqual(6)
  expect(all).toBeLessThanOrEqual(17)
  expect(served).toBeGreaterThan(0)
})

test('a budget that is too small is told with one that is not, and nobody who lives there is sent away', async () => {
  await allow(16)
  await vi.waitFor(async () => expect(await readyOf()).toMatchObject({ status: 'False', reason: 'ConnectionBudgetTooSmall' }), PATIENCE)
  expect((await readyOf())?.message).toContain('set it to 17 or more')
  expect(judge(await traffic(3)).served).toBeGreaterThan(0)
  const phases = (await get('tenants')).items.map((tenant: { status: { phase: string } }) => tenant.status.phase)
  expect(new Set(phases)).toEqual(new Set(['Ready']))
  await allow(BUDGET)
  await vi.waitFor(async () => expect(await readyOf()).toMatchObject({ status: 'True' }), PATIENCE)
})
