import { randomUUID } from 'node:crypto'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { readMigrations } from '../../operator/postgres/migrations.ts'
import { physicalNames } from '../../operator/postgres/names.ts'
import { makeNeighbours, neighboursOf } from '../../operator/postgres/neighbours.ts'
import { type Tried, trialOf, tryAll } from '../../operator/postgres/walls.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { connectAsSuperuser } from '../builders/provision.ts'

/** A wall has no door here; and Postgres truncates no table that others refer to, whoever asks. */
const UNREACHABLE = ['name nobody', 'truncate schema users', 'truncate row users']
const UIDS = [randomUUID(), randomUUID(), randomUUID()]

let database: TestDatabase
let root: Client

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  const { tenant } = await readMigrations('config/migrations')
  await database.admin.query(makeNeighbours(database.names, tenant))
  root = await connectAsSuperuser(inject('postgres'), database.name)
})

afterAll(async () => {
  await root?.end()
  await database?.drop()
})

async function attempt(role: string, isolation: (typeof ISOLATIONS)[number], uids: readonly string[]): Promise<Tried> {
  const physical = { ...physicalNames(isolation, database.names, uids[0] ?? ''), role }
  const results = [await root.query(tryAll(physical, uids, trialOf(isolation, database.names)))].flat()
  return JSON.parse(results.findLast(({ rows }) => rows.length > 0)?.rows[0].tried)
}

test.each(ISOLATIONS)('PG-01: whoever may do everything is told by each attempt of isolation %s', async (isolation) => {
  const { hits, lost } = await attempt('postgres', isolation, UIDS.slice(0, 1))
  const reached = hits.filter((hit) => hit.as === 'reached').map(({ what }) => what)
  const wanted = trialOf(isolation, database.names).attempts.map(({ name }) => name)
  expect(wanted.filter((name) => !reached.includes(name)).toSorted()).toEqual(
    UNREACHABLE.filter((name) => wanted.includes(name)).toSorted(),
  )
  expect(lost).toEqual([])
  expect(hits.filter((hit) => hit.as === 'unclear').map(({ what }) => what)).toEqual(
    wanted.filter((name) => name.startsWith('truncate') && UNREACHABLE.includes(name)).map((name) => `${name} 0A000`),
  )
})

test('a lock that somebody holds is waited for once, and what it kept from being tried is told of each tenant', async () => {
  const builder = await connectAsSuperuser(inject('postgres'), database.name)
  await builder.query('BEGIN; LOCK TABLE tenantry_rows.tasks IN SHARE MODE')
  const began = performance.now()
  const { hits } = await attempt(database.names.rows, 'row', UIDS)
  const took = performance.now() - began
  await builder.end()
  expect(took).toBeLessThan(5_000)
  const kept = ['write', 'change', 'delete'].map((what) => `${what} row tasks 55P03`)
  for (const uid of UIDS) expect(hits.filter(({ of }) => of === uid).map(({ what }) => what)).toEqual(kept)
})

test('tenants of one role that are tried together are told apart, and what the role alone decides is so for all', async () => {
  const [open = '', ...closed] = UIDS
  const named = (uid: string) => `current_setting('app.tenant_id', true) = '${uid}'`
  // The neighbour still finds its own: else the attempts would prove nothing.
  await root.query(`DROP POLICY tenant ON tenantry_rows.tasks; GRANT TRUNCATE ON tenantry_rows.tasks TO "${database.names.rows}";
    CREATE POLICY tenant ON tenantry_rows.tasks USING (${named(open)} OR ${named(neighboursOf(database.names).row)})`)
  const { hits, lost } = await attempt(database.names.rows, 'row', [...closed, open])
  expect(lost).toEqual([])
  expect(hits.filter(({ of }) => of === null).map(({ what }) => what)).toEqual(['truncate row tasks'])
  expect([...new Set(hits.flatMap(({ of }) => of ?? []))]).toEqual([open])
  expect(hits.filter(({ of }) => of === open).map(({ what }) => what)).toContain('read row tasks')
})
