import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import type { TenantryError } from '../../runtime/errors.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { Statement } from '../../runtime/shards/statement.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { watchPeak } from '../builders/peak.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { sessionOn, until } from '../builders/runtime.ts'
import { startTcpProxy } from '../faults/tcp-proxy.ts'

const OPEN = 'SELECT count(*) FROM pg_stat_activity WHERE usename = ANY($1)'
const WHO: Statement = { name: 'who', text: () => 'SELECT current_user::text AS role', values: [] }
const SLOW: Statement = { name: 'slow', text: () => 'SELECT pg_sleep(3)', values: [] }

let database: TestDatabase
let superuser: Client
let shared: TenantContext
const apart: TenantContext[] = []

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  superuser = await connectAsSuperuser(inject('postgres'), 'postgres')
  shared = await database.tenant('shared')
  for (let number = 0; number < 12; number += 1) apart.push(await database.tenant(`apart-${number}`, 'database'))
})

afterAll(async () => {
  await superuser.end()
  await database.drop()
})

/** A session whose Shard lets it have so many connections, which may be changed. */
function replica(connections: number): { session: Session; change: (connections: number) => void } {
  const place = { ...database, endpoint: { ...database.endpoint, connections } }
  const change = (most: number) => {
    place.endpoint = { ...database.endpoint, connections: most }
  }
  return { session: sessionOn(place), change }
}

const logins = () => [database.credentials.username, ...apart.map(({ route }) => route.role)]
const open = async () => Number((await superuser.query(OPEN, [logins()])).rows[0]?.count)

/** The code of what it ends in. */
function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: TenantryError) => error.code,
  )
}

/** Everything at once: each tenant reads over and over, and has a transaction that thinks. */
function traffic(session: Session, rounds: number): Promise<string[]> {
  return Promise.all(
    [shared, ...apart].flatMap((tenant) =>
      Array.from({ length: rounds }, (_, round) =>
        codeOf(round % 10 === 9 ? session.transaction(tenant, async (run) => [await run(WHO), await run(WHO)]) : session.read(tenant, WHO)),
      ),
    ),
  )
}

/** Everything was served, or on a busy machine refused with a time to come again, and that seldom. */
function judge(codes: readonly string[]): void {
  const refused = codes.filter((code) => code !== 'no error')
  expect([...new Set(refused)].filter((code) => code !== 'overloaded')).toEqual([])
  expect(refused.length).toBeLessThan(codes.length / 2)
}

test.each([3, 6, 12])(
  'HT-15: with %s connections a replica serves thirteen tenants, twelve of which have a database, and opens no more',
  async (most) => {
    const { session } = replica(most)
    const watched = watchPeak(superuser, OPEN, [logins()])
    const since = performance.now()
    const codes: string[] = []
    for (let burst = 0; burst < 5; burst += 1) codes.push(...(await traffic(session, 20)))
    const ms = performance.now() - since
    const peak = await watched.stop()
    await session.close()
    printFigure(`HT-15: share ${most}: ${codes.length} requests of 13 tenants in ${Math.round(ms)} ms, at most ${peak} connections`)
    judge(codes)
    expect(peak).toBeLessThanOrEqual(most)
  },
)

test('who gets no connection in time is refused with a time to come again, and nobody else of the Shard is', async () => {
  const { session } = replica(3)
  const [first, second] = apart
  if (first === undefined || second === undefined) throw new Error('no tenants')
  const slow = codeOf(session.transaction(first, (run) => run(SLOW)))
  await until(async () => (await open()) > 0)
  const since = performance.now()
  const refused = await session.read(second, WHO).catch((error: TenantryError) => error)
  expect(refused).toMatchObject({ code: 'overloaded', retryAfter: 1 })
  expect(performance.now() - since).toBeLessThan(2_800)
  expect(await codeOf(session.read(shared, WHO))).toBe('no error')
  expect(await slow).toBe('no error')
  expect(await codeOf(session.read(second, WHO))).toBe('no error')
  await session.close()
})

test('a change of the share is taken over at once, also where no request comes by', async () => {
  const { session, change } = replica(24)
  for (const tenant of [shared, ...apart]) await session.read(tenant, WHO)
  expect(await open()).toBe(13)
  const since = performance.now()
  change(3)
  await until(async () => (await open()) <= 3)
  printFigure(`HT-15: a smaller share was taken over after ${Math.round(performance.now() - since)} ms`)
  const watched = watchPeak(superuser, OPEN, [logins()])
  const codes = await traffic(session, 10)
  expect(await watched.stop()).toBeLessThanOrEqual(3)
  judge(codes)
  await session.close()
})

test('a server that answers no farewell keeps no place', async () => {
  const proxy = await startTcpProxy(inject('postgres'))
  const { host, port } = proxy
  const place = { ...database, endpoint: { ...database.endpoint, host, port, connections: 3 } }
  const session = sessionOn(place, { deadline: 500 })
  await session.transaction(shared, (run) => run(WHO))
  await session.read(shared, WHO)
  expect(proxy.opened()).toBe(2)
  proxy.blackHole()
  proxy.mend()
  place.endpoint = { ...place.endpoint, connections: 4 }
  const since = performance.now()
  await until(async () => (await codeOf(session.read(shared, WHO))) === 'no error')
  await until(async () => (await codeOf(session.transaction(shared, (run) => run(WHO)))) === 'no error')
  expect(performance.now() - since).toBeLessThan(10_000)
  await session.close()
  await proxy.close()
})
