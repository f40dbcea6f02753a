import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { TENANTS } from '../../operator/kubernetes/object.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { type Onlooker, startOnlooker } from '../builders/onlooker.ts'
import { createSubject, type Ground, OPERATIONS, type Operation, remove, settled } from '../builders/operations.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { eventsOf, type Subject, stateOf } from '../builders/tenant-state.ts'
import { type Cut, type Cutter, startCutter } from '../faults/cutter.ts'

/*
 * The operator is killed at each of its writes, to the API server and to Postgres: before it (OP-01), and when it was executed and its
 * answer is still on the way (OP-02). CRASH_POINTS=all takes every point; else a few of each operation, evenly spread.
 */
const ALL = process.env.CRASH_POINTS === 'all'
const SAMPLE = 2
const PATIENCE = { timeout: 40_000, interval: 50 }
const database = `test_${randomBytes(4).toString('hex')}`
const tally = { passed: 0, total: 0, slowest: 0 }
let ground: Ground
let client: Client
let cutter: Cutter
let operator: RunningOperator
let onlooker: Onlooker

beforeAll(async () => {
  await installCrds()
  const namespace = await createNamespace()
  await applyShardSecrets(namespace)
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  cutter = await startCutter(inject('kubernetes').kubeconfig, inject('postgres'))
  ground = { client, namespace, database }
  const endpoint = { ...cutter.postgres, database }
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { endpoint, tls: { mode: 'disable' }, warmSchemas: 2 }))])
  operator = await start()
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'shard/shard-a', '--timeout=60s'])
})

afterAll(async () => {
  await onlooker?.stop()
  const { passed, total, slowest } = tally
  printFigure(`OP-01, OP-02: ${passed} of ${total} crash points passed, the slowest recovery ${slowest.toFixed(1)} s, the start included`)
  const { walls, conditions } = onlooker.looks
  printFigure(
    `OP-01, OP-02: looked on ${walls} times at all rights (O4) and at ${conditions} states of Tenants (O6); ${onlooker.faults.length} faults`,
  )
  await operator?.stop()
  await cutter?.[Symbol.asyncDispose]()
  await client?.close()
})

/** Under one identity, as a pod that is started again in its place: the Lease is its own. */
const start = (settings: Record<string, string> = {}) =>
  startOperator(ground.namespace, { KUBECONFIG: cutter.kubeconfig, TENANTRY_IDENTITY: 'crash', ...settings })

async function prepare(isolation: Isolation, operation: Operation, watch: () => void): Promise<Subject> {
  if (!operation.exists) watch()
  const subject = await createSubject(ground, isolation, operation)
  if (operation.exists) {
    await settled(subject)
    watch()
    await operation.begin(subject)
  }
  return subject
}

/** Kills the operator at the cut, starts another, and waits until that has done the work. */
async function crash(isolation: Isolation, operation: Operation, cut: Cut): Promise<Subject> {
  const { promise: reached, resolve } = Promise.withResolvers<void>()
  const subject = await prepare(isolation, operation, () => void cutter.cut(cut).then(() => resolve()))
  await Promise.race([
    reached,
    pause(20_000, undefined, { ref: false }).then(() => Promise.reject(new Error(`there was no write ${cut.at}`))),
  ])
  await operator.kill()
  cutter.watch()
  const since = performance.now()
  operator = await start()
  // It looks at every Tenant there is; one that went before it began is looked at no more.
  if ((await settled(subject)) !== 'gone') {
    await vi.waitFor(async () => expect(await passesDone()).toBeGreaterThanOrEqual(1), PATIENCE)
    await settled(subject)
  }
  tally.slowest = Math.max(tally.slowest, (performance.now() - since) / 1_000)
  return subject
}

function cutsOf(writes: number): Cut[] {
  const all = Array.from({ length: writes }, (_, index) => index + 1).flatMap((at): Cut[] => [
    { at, how: 'before' },
    { at, how: 'unheard' },
  ])
  if (ALL) return all
  return Array.from({ length: SAMPLE }, (_, index) => Math.floor(((index + 0.5) * all.length) / SAMPLE)).flatMap((at) => all[at] ?? [])
}

const complaints = () => operator.lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 'error' || level === 'warn')

/** What three more resyncs write to the API server, and complain of. */
async function resync(subjects: readonly Subject[]): Promise<unknown[]> {
  await operator.stop()
  operator = await start({ TENANTRY_RESYNC_SECONDS: '1' })
  await passes(subjects.length + 1)
  cutter.watch()
  await passes(3 * subjects.length + 1)
  return [...cutter.writes.filter((what) => /^[A-Z]+ \/api/.test(what)), ...complaints()]
}

/** How many passes of Tenants have ended since the operator began. */
async function passesDone(): Promise<number> {
  const text = await (await fetch(`${operator.url}/metrics`)).text()
  return Number(/tenantry_reconcile_duration_seconds_count\{kind="tenant",result="done"\} (\d+)/.exec(text)?.[1] ?? 0)
}

/** Waits until so many more of them have. */
async function passes(more: number): Promise<void> {
  const before = await passesDone()
  await vi.waitFor(async () => expect(await passesDone()).toBeGreaterThanOrEqual(before + more), PATIENCE)
}

/**
 * Nobody is told anything that was not so, or twice, and what has become of the data is always told. An Event that was to follow a write
 * may be lost with the operator that had made it.
 */
async function compareEvents([undisturbed, ...killed]: readonly Subject[]): Promise<void> {
  const all = undisturbed === undefined ? [] : await eventsOf(undisturbed)
  for (const subject of killed) {
    const told = await eventsOf(subject)
    expect(all).toEqual(expect.arrayContaining(told))
    expect(new Set(told).size).toBe(told.length)
    expect(told.filter(isOfData)).toEqual(all.filter(isOfData))
  }
}

const isOfData = (event: string) => event.includes('"DataR')

test('who looks on sees a right that somebody has too many, and a Tenant that says what is not so', async () => {
  const seeing = startOnlooker(ground)
  const subject = await createSubject(ground, 'row', { ...OPERATIONS[0], deletionPolicy: 'Delete' } as Operation)
  await settled(subject)
  const superuser = await connectAsSuperuser(inject('postgres'), database)
  await superuser.query(`GRANT SELECT ON tenantry_rows.tasks TO ${database}_runtime`)
  await superuser.query('UPDATE tenantry.tenants SET made_at = NULL WHERE uid = $1', [subject.uid])
  await client.patch(TENANTS, ground.namespace, subject.name, { metadata: { labels: { looked: 'at' } } })
  const seen = [`${database}_runtime has rights on tenantry_rows.tasks`, `${subject.name} is Provisioned and has no data in use`]
  await vi.waitFor(() => expect(seeing.faults).toEqual(expect.arrayContaining(seen)), PATIENCE)
  await seeing.stop()
  await superuser.query(`REVOKE SELECT ON tenantry_rows.tasks FROM ${database}_runtime`)
  await superuser.query('UPDATE tenantry.tenants SET made_at = now() WHERE uid = $1', [subject.uid])
  await superuser.end()
  await remove(subject)
  expect(await settled(subject)).toBe('gone')
  onlooker = startOnlooker(ground)
})

const CASES = ISOLATIONS.flatMap((isolation) => OPERATIONS.map((operation) => ({ isolation, operation, what: operation.what })))
const TITLE =
  'OP-01, OP-02: an operator that is killed on the way is replaced by one that ends where nothing was disturbed: $isolation: $what'

test.for(CASES)(TITLE, { timeout: ALL ? 400_000 : 90_000 }, async ({ isolation, operation }) => {
  const subject = await prepare(isolation, operation, cutter.watch)
  await settled(subject)
  const writes = cutter.writes.length
  const [state, subjects, cuts] = [await stateOf(subject), [subject], cutsOf(writes)]
  tally.total += cuts.length
  for (const cut of cuts) {
    const after = await crash(isolation, operation, cut)
    const found = { state: await stateOf(after), complaints: complaints() }
    expect(found, `killed: ${cut.how} write ${cut.at}`).toEqual({ state, complaints: [] })
    subjects.push(after)
    tally.passed += 1
  }
  printFigure(`OP-01, OP-02: ${isolation}, ${operation.what}: ${cuts.length} points in ${writes} writes`)
  expect(onlooker.faults.slice(0, 5)).toEqual([])
  if (operation.begin === remove) return compareEvents(subjects)
  expect(await resync(subjects)).toEqual([])
  await compareEvents(subjects)
  for (const one of subjects) await remove(one)
  for (const one of subjects) expect(await settled(one)).toBe('gone')
})
