import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import { limitLogin } from '../../operator/postgres/databases.ts'
import type { TenantryError } from '../../runtime/errors.ts'
import { lockHead } from '../../runtime/shards/head.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { Statement } from '../../runtime/shards/statement.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { sessionOn, until } from '../builders/runtime.ts'

const LIMITS = { statementMs: 600, lockMs: 300, idleInTransactionMs: 2_500 }
const CONNECTIONS = 6
const sql = (text: string): Statement => ({ name: text, text: (schema) => text.replaceAll('@', schema), values: [] })
const HOURS = sql('SELECT pg_sleep(3600)')
const COUNT = sql('SELECT count(*) FROM @tasks')

let database: TestDatabase
let session: Session
const superuser = new Client({ connectionString: inject('postgres').superuserUrl })

beforeAll(async () => {
  await superuser.connect()
  database = await createDatabase(inject('postgres'))
  session = sessionOn(database, { pipelined: 2 })
})

afterAll(async () => {
  await session.close()
  await database.drop()
  await superuser.end()
})

/** Why the work was given up: the code that a caller is told, and Postgres' own. */
async function refusalOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    ({ code, cause }: TenantryError) => `${code} ${(cause as { code?: string } | undefined)?.code}`,
  )
}

async function tenant(id: string, isolation: Isolation, limits: TenantContext['route']['limits']): Promise<TenantContext> {
  const made = await database.tenant(id, isolation)
  return { ...made, route: { ...made.route, limits } }
}

/** Requests of a tenant, one after the other, until the work is done, and at least so many: how long each took, in milliseconds. Throws when one fails. */
async function requests(of: TenantContext, least: number, during: Promise<unknown> = Promise.resolve()): Promise<number[]> {
  const taken: number[] = []
  let over = false
  const end = during.finally(() => {
    over = true
  })
  while (!over || taken.length < least) {
    const begun = performance.now()
    await session.read(of, COUNT)
    await session.transaction(of, (run) => run(lockHead(of.uid, 1)))
    taken.push(performance.now() - begun)
  }
  await end
  return taken.sort((a, b) => a - b)
}

const percentile = (sorted: readonly number[], part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? 0

describe.each(ISOLATIONS)('PG-14: a noisy tenant of isolation %s', (isolation) => {
  let noisy: TenantContext
  let others: TenantContext[]

  beforeAll(async () => {
    noisy = await tenant('noisy', isolation, LIMITS)
    if (isolation === 'database') await database.admin.query(limitLogin(noisy.route, { ...LIMITS, connections: CONNECTIONS }))
    others = await Promise.all(ISOLATIONS.map((theirs) => tenant('quiet', theirs, undefined)))
  })

  /** Serves all others while the noisy one is at it, and prints what they notice. */
  async function besides(what: string, work: () => Promise<void>): Promise<void> {
    const before = (await Promise.all(others.map((one) => requests(one, 30)))).flat().sort((a, b) => a - b)
    const noise = work()
    const during = (await Promise.all(others.map((one) => requests(one, 3, noise)))).flat().sort((a, b) => a - b)
    const ratio = (part: number) => (percentile(during, part) / percentile(before, part)).toFixed(1)
    printFigure(
      `PG-14: ${isolation}, ${what}: ${during.length} requests of others served meanwhile, in ${ratio(0.5)}x (median) and ${ratio(0.99)}x (p99) of the time before`,
    )
  }

  test('PG-14: a statement of hours is cut, alone, among others and in a transaction', () =>
    besides('long statements', async () => {
      for (const work of [
        () => session.read(noisy, HOURS),
        () => session.bundle(noisy, [COUNT, HOURS]),
        () => session.transaction(noisy, (run) => run(HOURS)),
        () => session.transaction(noisy, async (run) => [await run(COUNT), await run(HOURS)]),
      ])
        expect(await refusalOf(work())).toBe('overloaded 57014')
    }))

  test('PG-14: who waits for a lock is cut, and who holds it and forgets it is cut too', () =>
    besides('locks', async () => {
      const held = Promise.withResolvers<void>()
      const holder = session.transaction(noisy, async (run) => {
        const [row] = await run(lockHead(noisy.uid, 1), sql('SELECT pg_backend_pid() AS pid'))
        held.resolve()
        await until(async () => (await superuser.query('SELECT FROM pg_stat_activity WHERE pid = $1', [row?.pid])).rowCount === 0)
        return run(COUNT)
      })
      const cut = refusalOf(holder)
      await held.promise
      expect(await refusalOf(session.bundle(noisy, [lockHead(noisy.uid, 1), COUNT]))).toBe('overloaded 55P03')
      expect(await cut).toBe('overloaded 25P03')
      expect(await session.bundle(noisy, [lockHead(noisy.uid, 1)])).toHaveLength(1)
    }))

  test('PG-14: more connections than allowed are refused: a tenant without a login has none', () =>
    besides('connections', async () => {
      const { host, port } = inject('postgres')
      const { role: user, database: to } = noisy.route
      // The runtime has two of them, which stand.
      const allowed = isolation === 'database' ? CONNECTIONS - 2 : 0
      const clients = Array.from({ length: allowed + 10 }, () => {
        const client = new Client({ host, port, user, database: to, password: database.login(user)?.password ?? 'none' })
        return client.on('error', () => undefined)
      })
      await Promise.all([session.read(noisy, COUNT), session.transaction(noisy, (run) => run(COUNT))])
      const taken = await Promise.allSettled(clients.map((client) => client.connect()))
      expect(await session.read(noisy, COUNT)).toHaveLength(1)
      const refusals = taken.flatMap((one) => (one.status === 'rejected' ? [String(one.reason.code)] : []))
      await Promise.all(clients.map((client, index) => (taken[index]?.status === 'fulfilled' ? client.end() : undefined)))
      expect(taken.length - refusals.length).toBe(allowed)
      expect(new Set(refusals)).toEqual(new Set([isolation === 'database' ? '53300' : '28P01']))
    }))

  test('PG-14: its limits end with the transaction, and are never wider than the runtime’s own', async () => {
    const limits = sql(
      "SELECT array_agg(name || '=' || setting ORDER BY name) AS set FROM pg_settings WHERE name ~ '^(statement|lock|idle_in_transaction_session)_timeout$'",
    )
    const wide = {
      ...noisy,
      route: { ...noisy.route, limits: { statementMs: 3_600_000, lockMs: 3_600_000, idleInTransactionMs: 3_600_000 } },
    }
    const bundled = async (of: TenantContext) => (await session.bundle(of, [COUNT, limits]))[1]
    const own = ['idle_in_transaction_session_timeout=2500', 'lock_timeout=300', 'statement_timeout=600']
    const widest = ['idle_in_transaction_session_timeout=10000', 'lock_timeout=4000', 'statement_timeout=4000']
    for (let round = 0; round < 3; round++) {
      expect(await bundled(noisy)).toEqual([{ set: own }])
      expect(await bundled(wide)).toEqual([{ set: widest }])
      expect(await session.poll(database.shard, limits)).toEqual([{ set: widest }])
    }
  })
})
