import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { TenantStatus } from '../../crds/tenant.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { dumpCatalog } from '../builders/dump.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectTo } from '../builders/provision.ts'
import { publishedRoute } from '../builders/published.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const STEPS = 8
const database = `test_${randomBytes(4).toString('hex')}`
let namespace: string
let operator: RunningOperator
let admin: Client

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
  await applyShardSecrets(namespace)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database))])
  operator = await startOperator(namespace)
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'shard/shard-a', '--timeout=40s'])
  admin = await connectTo(inject('postgres'), database)
})

afterAll(async () => {
  await admin?.end()
  await operator?.stop()
})

/** The spec that a walk begins with and comes back to. */
const startOf = (isolation: string) => ({
  isolation,
  displayName: 'Start',
  suspended: false,
  hosts: [`${isolation}.start.example`],
  apiKeys: [{ name: 'main' }],
  deletionPolicy: 'Retain',
  deletionProtection: false,
})

const key = fc.constantFrom('web', 'mobile', 'batch', 'ops')
const spec = fc.record({
  displayName: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((text) => !/\p{C}/u.test(text)),
  suspended: fc.boolean(),
  subscriptionEndsAt: fc.constantFrom(undefined, '2020-01-01T00:00:00Z', '2099-01-01T00:00:00Z'),
  hosts: fc.uniqueArray(
    fc.integer({ min: 0, max: 9 }).map((number) => `host-${number}.example`),
    { maxLength: 4 },
  ),
  // The first key stays: one that is taken out and put back has another token, as it should.
  apiKeys: fc.uniqueArray(key, { maxLength: 3 }).map((names) => ['main', ...names].map((name) => ({ name }))),
  deletionPolicy: fc.constantFrom('Retain', 'Delete'),
  deletionProtection: fc.boolean(),
  shardRef: fc.constantFrom(undefined, { name: 'shard-a' }),
})

async function read(kind: string, ...which: string[]) {
  return JSON.parse(await kubectl(['get', kind, ...which, '-n', namespace, '-o', 'json']))
}

/** Replaced whole, so that a field which is left out is gone; waits until the operator has done with it. */
async function become(name: string, wanted: object): Promise<void> {
  const { metadata } = await read('tenant', name)
  const { generation } = JSON.parse(
    await kubectl(
      ['replace', '-n', namespace, '-o', 'json', '-f', '-'],
      JSON.stringify({ ...tenantManifest(name), metadata: { ...metadata, resourceVersion: undefined }, spec: wanted }),
    ),
  ).metadata
  await vi.waitFor(async () => {
    const { status }: { status: TenantStatus } = await read('tenant', name)
    expect(status).toMatchObject({ observedGeneration: generation, phase: expect.stringMatching(/^(Ready|Suspended)$/) })
  }, PATIENCE)
}

/** All that a Tenant has: status without times and generations, Secrets, its route, and the database's catalog. */
async function stateOf(name: string) {
  const { metadata, status }: { metadata: { uid: string }; status: TenantStatus } = await read('tenant', name)
  const { items } = await read('secrets', '-l', `tenantry.dev/tenant-uid=${metadata.uid}`)
  const conditions = status.conditions?.map(({ type, status, reason, message }) => `${type} ${status} ${reason} ${message}`).sort()
  return {
    status: { ...status, observedGeneration: undefined, conditions },
    secrets: items.map((one: { metadata: { name: string }; data: object }) => [one.metadata.name, hashOf(JSON.stringify(one.data))]),
    route: await publishedRoute(namespace, metadata.uid),
    record: (await admin.query('SELECT * FROM tenantry.tenants WHERE uid = $1', [metadata.uid])).rows,
    catalog: await dumpCatalog(admin),
  }
}

// What a failing comparison prints holds no token.
function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

test('OP-15: after a walk over valid specs and back all is as it was at the start', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  printFigure(`OP-15: seed ${seed}`)
  await applyAll(
    namespace,
    ISOLATIONS.map((isolation) => tenantManifest(isolation, startOf(isolation))),
  )
  for (const isolation of ISOLATIONS)
    await kubectl(['wait', '-n', namespace, '--for=condition=Ready', `tenant/${isolation}`, '--timeout=60s'])
  // The Shard makes ready schemas anew once no tenant is being made.
  const spares = async () => expect((await admin.query('SELECT FROM tenantry.spares')).rows).toHaveLength(10)
  await vi.waitFor(spares, PATIENCE)
  for (const [index, isolation] of ISOLATIONS.entries()) {
    const before = await stateOf(isolation)
    for (const wanted of fc.sample(spec, { seed: seed + index, numRuns: STEPS })) await become(isolation, { isolation, ...wanted })
    await become(isolation, startOf(isolation))
    expect(await stateOf(isolation)).toEqual(before)
  }
  expect(operator.lines.filter((line) => JSON.parse(line).level >= 40)).toEqual([])
  printFigure(`OP-15: ${ISOLATIONS.length} walks of ${STEPS} specs, residual differences 0`)
})
