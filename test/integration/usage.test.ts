import { randomBytes } from 'node:crypto'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import type { Isolation, TenantStatus, TenantUsage } from '../../crds/tenant.ts'
import { countUsage } from '../../operator/postgres/usage.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser, connectTo } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

type Place = { uid: string; schema: string }

const PATIENCE = { timeout: 40_000, interval: 100 }

/** Lays so many tasks and their events, as the runtime leaves them; the head stands with the last event, and knows their number. */
function tasks(count: number, { uid, schema }: Place): string {
  return `INSERT INTO ${schema}.tasks SELECT '${uid}', gen_random_uuid(), 'task ' || n, repeat('x', 100), 'low', 'pending', '{}', NULL, NULL, 1, n, now(), now(), NULL FROM generate_series(1, ${count}) n;
    INSERT INTO ${schema}.events SELECT '${uid}', h.position + n, gen_random_uuid(), 'task.created', gen_random_uuid(), 1, '{"title": "x"}', now() FROM tenantry.head h, generate_series(1, ${count}) n WHERE h.tenant = '${uid}';
    UPDATE tenantry.head SET position = position + ${count}, counts = counts || jsonb_build_object('tasks', coalesce((counts ->> 'tasks')::int, 0) + ${count}, 'tasksBytes', coalesce((counts ->> 'tasksBytes')::int, 0) + ${300 * count}) WHERE tenant = '${uid}'`
}

/** The same of users, without their events. */
function users(count: number, { uid, schema }: Place): string {
  return `INSERT INTO ${schema}.users SELECT '${uid}', gen_random_uuid(), 'u' || n || '@example.com', 'User ' || n, 1, n, now(), now() FROM generate_series(1, ${count}) n;
    UPDATE tenantry.head SET counts = counts || '{"users": ${count}, "usersBytes": ${150 * count}}' WHERE tenant = '${uid}'`
}

describe('status.usage', () => {
  const database = `test_${randomBytes(4).toString('hex')}`
  const superusers = new Map<string, pg.Client>()
  let namespace: string
  let operator: RunningOperator

  beforeAll(async () => {
    await installCrds()
    namespace = await createNamespace()
    await applyShardSecrets(namespace)
    operator = await startOperator(namespace, { TENANTRY_USAGE_SECONDS: '1' })
    await applyAll(namespace, [
      shardManifest('shard-a', shardSpec(database)),
      ...ISOLATIONS.map((isolation) => tenantManifest(`u-${isolation}`, { isolation })),
    ])
    await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'tenants', '--all', '--timeout=60s'])
  })

  afterAll(async () => {
    for (const client of superusers.values()) await client.end()
    await operator?.stop()
  })

  const get = async (name: string) => JSON.parse(await kubectl(['get', 'tenant', name, '-n', namespace, '-o', 'json']))
  const usageOf = async (name: string): Promise<TenantUsage | undefined> => ((await get(name)).status as TenantStatus).usage
  const patch = (name: string, change: object) =>
    kubectl(['patch', 'tenant', name, '-n', namespace, '--type=merge', '-p', JSON.stringify(change)])

  /** Runs statements where a tenant's tables are, as one whom no policy holds. */
  async function run(name: string, text: (place: Place) => string): Promise<void> {
    const { metadata, status } = await get(name)
    const client = superusers.get(status.database) ?? (await connectAsSuperuser(inject('postgres'), status.database))
    superusers.set(status.database, client)
    await client.query(text({ uid: metadata.uid, schema: status.schema }))
  }

  const lay = (name: string, count: number) => run(name, (place) => tasks(count, place))
  const counted = (name: string, count: number) =>
    vi.waitFor(async () => {
      const usage = await usageOf(name)
      expect(usage?.tasks).toBe(count)
      return usage
    }, PATIENCE)

  /** Waits until all tenants have been looked at a few times more. */
  async function samples(): Promise<void> {
    const done = async () => {
      const text = await (await fetch(`${operator.url}/metrics`)).text()
      return Number(/tenantry_reconcile_duration_seconds_count\{kind="usage",result="wait"\} (\d+)/.exec(text)?.[1] ?? 0)
    }
    const begun = await done()
    await vi.waitFor(async () => expect(await done()).toBeGreaterThan(begun + 4 * ISOLATIONS.length), PATIENCE)
  }

  test.each(ISOLATIONS)('%s: tasks and storage are counted, and again when they have changed', async (isolation) => {
    const first = await counted(`u-${isolation}`, 0)
    expect(first?.users).toBe(0)
    await lay(`u-${isolation}`, 1_000)
    const second = await counted(`u-${isolation}`, 1_000)
    const bytes = (second?.storageBytes ?? 0) - (first?.storageBytes ?? 0)
    printFigure(`usage (${isolation}): 1,000 tasks of some 130 characters and their events, ${Math.round(bytes / 1024)} KiB`)
    expect(bytes).toBeGreaterThan(1_000 * 200)
    expect(bytes).toBeLessThan(1_000 * 2_000)
    expect([first?.dataBytes, second?.dataBytes]).toEqual([0, 300_000])
    expect(Date.parse(second?.sampledAt ?? '')).toBeGreaterThanOrEqual(Date.parse(first?.sampledAt ?? ''))
  })

  test.each(ISOLATIONS)('%s: users are counted', async (isolation) => {
    const before = await counted(`u-${isolation}`, 1_000)
    await run(`u-${isolation}`, (place) => users(300, place))
    const after = await vi.waitFor(async () => {
      const usage = await usageOf(`u-${isolation}`)
      expect(usage?.users).toBe(300)
      return usage
    }, PATIENCE)
    expect(after?.dataBytes).toBe(300_000 + 45_000)
    expect(after?.storageBytes).toBeGreaterThan((before?.storageBytes ?? 0) + 300 * 40)
  })

  test('OP-20: numbers that have not changed are not written', async () => {
    const versions = async () =>
      (await Promise.all(ISOLATIONS.map((one) => get(`u-${one}`)))).map(({ metadata }) => metadata.resourceVersion)
    // Files grow a little when they are first vacuumed, which would else happen by itself at any time.
    for (const one of ISOLATIONS) await run(`u-${one}`, () => 'VACUUM ANALYZE')
    await samples()
    const before = await versions()
    await samples()
    expect(await versions()).toEqual(before)
  })

  test('a pass that writes the status leaves what was counted', async () => {
    const before = await counted('u-schema', 1_000)
    await patch('u-schema', { spec: { hosts: ['usage.example'] } })
    await vi.waitFor(async () => {
      const { metadata, status } = await get('u-schema')
      expect(status.observedGeneration).toBe(metadata.generation)
    }, PATIENCE)
    expect(await usageOf('u-schema')).toEqual(before)
  })

  test.each(ISOLATIONS)('%s: a suspended tenant is counted like any other', async (isolation) => {
    await patch(`u-${isolation}`, { spec: { suspended: true } })
    await kubectl(['wait', '-n', namespace, '--for=jsonpath={.status.phase}=Suspended', `tenant/u-${isolation}`, '--timeout=40s'])
    await lay(`u-${isolation}`, 10)
    await counted(`u-${isolation}`, 1_010)
  })

  test('a sample that fails leaves the last one, and the next one counts again', async () => {
    const before = await counted('u-row', 1_010)
    await run('u-row', ({ schema }) => `ALTER TABLE ${schema}.events RENAME TO away`)
    await samples()
    expect(operator.lines.filter((line) => line.includes('could not be counted')).length).toBeGreaterThan(0)
    expect(await usageOf('u-row')).toEqual(before)
    await run('u-row', ({ schema }) => `ALTER TABLE ${schema}.away RENAME TO events`)
    await lay('u-row', 1)
    await counted('u-row', 1_011)
  })

  test.each(ISOLATIONS)('%s: a tenant under deletion is counted no more', async (isolation) => {
    const name = `u-${isolation}`
    await patch(name, { metadata: { finalizers: ['tenantry.dev/tenant', 'example.com/hold'] } })
    await kubectl(['delete', 'tenant', name, '-n', namespace, '--wait=false'])
    const before = await vi.waitFor(async () => {
      const { metadata, status } = await get(name)
      expect(metadata.finalizers).toEqual(['example.com/hold'])
      return status.usage
    }, PATIENCE)
    await lay(name, 7)
    await samples()
    expect(await usageOf(name)).toEqual(before)
    await patch(name, { metadata: { finalizers: null } })
  })
})

describe('what a sample costs', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase(inject('postgres'))
  })
  afterAll(() => database.drop())

  /** The rows that the statement has had to read of the tenant's tables, and how long it took in milliseconds. */
  async function cost(
    isolation: Isolation,
    count: number,
  ): Promise<{ rows: number; ms: number; usage: { tasks: number; users: number; bytes: number } }> {
    const tenant = await database.tenant(`with-${count}`, isolation)
    const place = { uid: tenant.uid, schema: tenant.route.schema }
    const superuser = await connectAsSuperuser(inject('postgres'), tenant.route.database)
    await superuser.query(`${tasks(count, place)}; ${users(count, place)}; ANALYZE`)
    await superuser.end()
    const admin = await connectTo(inject('postgres'), tenant.route.database)
    await admin.query('BEGIN')
    const since = performance.now()
    const results = await admin.query(countUsage(isolation, tenant.uid, tenant.route))
    const ms = performance.now() - since
    const read = await admin.query(
      `SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS rows FROM pg_stat_xact_all_tables WHERE schemaname = '${place.schema}'`,
    )
    await admin.end()
    const [usage] = [results].flat().at(-1)?.rows ?? []
    return { rows: read.rows[0].rows, ms, usage }
  }

  test.each(ISOLATIONS)('isolation %s: a big tenant is counted by as few rows as a small one', async (isolation) => {
    const [small, big] = [await cost(isolation, 500), await cost(isolation, 50_000)]
    printFigure(
      `usage (${isolation}): ${small.rows} rows read of 500 tasks and users in ${small.ms.toFixed(1)} ms, ${big.rows} of 50,000 in ${big.ms.toFixed(1)} ms`,
    )
    expect([small.usage.tasks, big.usage.tasks]).toEqual([500, 50_000])
    expect([small.usage.users, big.usage.users]).toEqual([500, 50_000])
    expect(Math.max(small.rows, big.rows)).toBeLessThan(700)
  })

  test('row: the estimate is near the size of the rows, and of this tenant’s alone', async () => {
    const { usage } = await cost('row', 3_000)
    const superuser = await connectAsSuperuser(inject('postgres'), database.name)
    const { rows } = await superuser.query(
      `SELECT (SELECT sum(pg_column_size(t.*)) FROM tenantry_rows.tasks t JOIN tenantry.tenants o ON o.uid = t.tenant_id WHERE o.name = 'with-3000')
            + (SELECT sum(pg_column_size(u.*)) FROM tenantry_rows.users u JOIN tenantry.tenants o ON o.uid = u.tenant_id WHERE o.name = 'with-3000')
            + (SELECT sum(pg_column_size(e.*)) FROM tenantry_rows.events e JOIN tenantry.tenants o ON o.uid = e.tenant_id WHERE o.name = 'with-3000') AS bytes`,
    )
    await superuser.end()
    expect(usage.bytes / Number(rows[0].bytes)).toBeCloseTo(1, 1)
  })
})
