import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
let operator: RunningOperator

beforeAll(installCrds)
afterEach(() => operator?.stop())

/** Under one identity, as a pod that is started again in its place: the Lease is its own. */
const start = (namespace: string) => startOperator(namespace, { TENANTRY_IDENTITY: 'namespace' })

type Made = { namespace: string; database: string; uids: Map<string, string> }

/** A namespace of its own with a Shard, and of each isolation one Tenant whose data is kept and one whose data is removed. */
async function populate(): Promise<Made> {
  const namespace = await createNamespace()
  const database = `test_${randomBytes(4).toString('hex')}`
  await applyShardSecrets(namespace)
  const tenants = ISOLATIONS.flatMap((isolation) =>
    (['Retain', 'Delete'] as const).map((deletionPolicy) =>
      tenantManifest(`${isolation}-${deletionPolicy.toLowerCase()}`, { shardRef: { name: 'shard-a' }, isolation, deletionPolicy }),
    ),
  )
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database)), ...tenants])
  operator = await start(namespace)
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'tenant', '--all', '--timeout=60s'])
  const { items } = JSON.parse(await kubectl(['get', 'tenants', '-n', namespace, '-o', 'json']))
  const uids = items.map(({ metadata }: { metadata: { name: string; uid: string } }) => [metadata.name, metadata.uid])
  return { namespace, database, uids: new Map(uids) }
}

/** What stands in Postgres of those Tenants: their names, with `kept` when it is marked so. */
async function standing({ database, uids }: Made): Promise<string[]> {
  const url = new URL(inject('postgres').adminUrl)
  url.pathname = `/${database}`
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  try {
    const found: string[] = []
    for (const [name, uid] of uids) {
      const own = `t_${uid.replaceAll('-', '')}`
      const { rows } = await client.query(
        `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) OR EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)
             OR EXISTS (SELECT FROM pg_database WHERE datname LIKE '%' || $1) AS stands,
                EXISTS (SELECT FROM tenantry.tenants WHERE uid = $2 AND retained_at IS NOT NULL) AS kept`,
        [own, uid],
      )
      if (rows[0].stands || rows[0].kept) found.push(rows[0].kept ? `${name} kept` : name)
    }
    return found.sort()
  } finally {
    await client.end()
  }
}

/** Deletes the namespace although it is in use, and does not wait for its end. */
async function deleteInUse(namespace: string): Promise<void> {
  await kubectl(['label', 'namespace', namespace, 'tenantry.dev/in-use=ignored', '--overwrite'])
  await kubectl(['delete', 'namespace', namespace, '--wait=false'])
}

/** Resolves when Kubernetes has taken what it can out of the namespace, the Secrets of people with it. */
const emptied = (namespace: string) =>
  vi.waitFor(async () => expect(await secretsIn(namespace)).toEqual(['tenantry-admin-logins']), PATIENCE)

const secretsIn = async (namespace: string) =>
  (await kubectl(['get', 'secrets', '-n', namespace, '-o', 'jsonpath={.items[*].metadata.name}'])).split(' ').filter((name) => name !== '')

const KEPT = ISOLATIONS.map((isolation) => `${isolation}-retain kept`).sort()
const change = (namespace: string, object: string, spec: object) =>
  kubectl(['patch', object, '-n', namespace, '--type=merge', '-p', JSON.stringify({ spec })])
const protect = (namespace: string, deletionProtection: boolean) => change(namespace, 'tenant/schema-delete', { deletionProtection })
const inUse = async (namespace: string) =>
  JSON.parse(await kubectl(['get', 'namespace', namespace, '-o', 'json'])).metadata.labels['tenantry.dev/in-use']

/** Why Kubernetes cannot delete what is in the namespace, as the namespace itself says. */
async function contentFailure(namespace: string): Promise<string | undefined> {
  const { status } = JSON.parse(await kubectl(['get', 'namespace', namespace, '-o', 'json']))
  const conditions: { type: string; status: string; message: string }[] = status.conditions ?? []
  return conditions.find(({ type, status }) => type === 'NamespaceDeletionContentFailure' && status === 'True')?.message
}

describe('OP-17: a namespace', () => {
  test('is not deleted while Tenants or Shards are there; the refusal says how, and what it says works', async () => {
    const made = await populate()
    const { namespace } = made
    const refusal = await kubectl(['delete', 'namespace', namespace]).then(String, (error: Error) => error.message)
    expect(refusal).toContain(`kubectl delete tenants,shards --all -n ${namespace}`)
    expect(JSON.parse(await kubectl(['get', 'namespace', namespace, '-o', 'json'])).metadata.deletionTimestamp).toBeUndefined()
    await kubectl(['delete', 'tenants,shards', '--all', '-n', namespace, '--timeout=60s'])
    await vi.waitFor(async () => expect(await inUse(namespace)).toBeUndefined(), PATIENCE)
    expect(await standing(made)).toEqual(KEPT)
    await kubectl(['delete', 'namespace', namespace, '--wait=false'])
  })

  test.skipIf(!inject('kubernetes').garbageCollection)(
    'that is deleted all the same ends, and the data of each Tenant is kept or removed as it says',
    async () => {
      const made = await populate()
      const { namespace } = made
      const since = performance.now()
      await deleteInUse(namespace)
      await kubectl(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=60s'])
      printFigure(`OP-17: a namespace with 6 Tenants is gone after ${((performance.now() - since) / 1000).toFixed(1)} s`)
      expect(await standing(made)).toEqual(KEPT)
    },
  )

  test.skipIf(!inject('kubernetes').garbageCollection)(
    'that is deleted all the same waits for a protected Tenant, says why, and goes on once the protection is off',
    async () => {
      const made = await populate()
      const { namespace } = made
      await protect(namespace, true)
      await deleteInUse(namespace)
      await vi.waitFor(async () => expect(await contentFailure(namespace)).toMatch(/schema-delete.*deletionProtection/), PATIENCE)
      expect(await standing(made)).toContain('schema-delete')
      const since = performance.now()
      await protect(namespace, false)
      await kubectl(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=60s'])
      printFigure(`OP-17: a namespace is gone ${((performance.now() - since) / 1000).toFixed(1)} s after its last Tenant lost protection`)
      expect(await standing(made)).toEqual(KEPT)
    },
  )

  test.skipIf(!inject('kubernetes').garbageCollection)(
    'that is deleted while the operator is away ends once one has begun again, and the data is kept or removed as each Tenant says',
    async () => {
      const made = await populate()
      const { namespace } = made
      await operator.kill()
      await deleteInUse(namespace)
      await emptied(namespace)
      const since = performance.now()
      operator = await start(namespace)
      await kubectl(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=60s'])
      printFigure(
        `OP-17: a namespace is gone ${((performance.now() - since) / 1000).toFixed(1)} s after the start of an operator that came late`,
      )
      expect(await standing(made)).toEqual(KEPT)
    },
  )

  test.skipIf(!inject('kubernetes').garbageCollection)(
    'that is being deleted is seen out by an operator that takes over, also when the server was away meanwhile',
    async () => {
      const made = await populate()
      const { namespace } = made
      await protect(namespace, true)
      await deleteInUse(namespace)
      await vi.waitFor(async () => expect(await contentFailure(namespace)).toMatch(/schema-delete/), PATIENCE)
      await operator.kill()
      await change(namespace, 'shard/shard-a', { endpoint: { port: 1 } })
      operator = await startOperator(namespace)
      await protect(namespace, false)
      const reasons = () => kubectl(['get', 'shard/shard-a', '-n', namespace, '-o', 'jsonpath={.status.conditions[*].reason}'])
      await vi.waitFor(async () => expect(await reasons()).toContain('Unreachable'), PATIENCE)
      expect(await standing(made)).toContain('schema-delete')
      await change(namespace, 'shard/shard-a', { endpoint: { port: inject('postgres').port } })
      await kubectl(['wait', '--for=delete', `namespace/${namespace}`, '--timeout=60s'])
      expect(await standing(made)).toEqual(KEPT)
    },
  )
})
