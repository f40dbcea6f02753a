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
  operator = await startOperator(namespace)
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

const KEPT = ISOLATIONS.map((isolation) => `${isolation}-retain kept`).sort()
const inUse = async (namespace: string) =>
  JSON.parse(await kubectl(['get', 'namespace', namespace, '-o', 'json'])).metadata.labels['tenantry.dev/in-use']

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
      await kubectl(['label', 'namespace', namespace, 'tenantry.dev/in-use=ignored', '--overwrite'])
      const since = performance.now()
      await kubectl(['delete', 'namespace', namespace, '--timeout=60s'])
      printFigure(`OP-17: a namespace with 6 Tenants is gone after ${((performance.now() - since) / 1000).toFixed(1)} s`)
      expect(await standing(made)).toEqual(KEPT)
    },
  )
})
