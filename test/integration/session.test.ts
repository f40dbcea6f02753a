import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { TenantryError } from '../../runtime/errors.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { Statement, Value } from '../../runtime/shards/statement.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, type TestDatabase } from '../builders/database.ts'
import { sessionOn, until } from '../builders/runtime.ts'
import { startTcpProxy, type TcpProxy } from '../faults/tcp-proxy.ts'

const sql = (text: string, ...values: Value[]): Statement => ({ name: text, text: (schema) => text.replaceAll('@', schema), values })
const WHO = sql("SELECT current_user::text AS role, current_setting('search_path') AS path")

let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
})

afterAll(() => database.drop())

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: TenantryError) => error.code,
  )
}

// A tenant of the shared tables goes over the same connections as one with a schema; one with a database has connections of its own.
describe.for(['schema', 'database'] as const)('PG-08: release discipline, isolation %s', (isolation) => {
  let acme: TenantContext
  let proxy: TcpProxy
  let session: Session
  const superuser = new Client({ connectionString: inject('postgres').superuserUrl })
  beforeAll(async () => {
    await superuser.connect()
    acme = await database.tenant('acme', isolation)
    proxy = await startTcpProxy(inject('postgres'))
    const { host, port } = proxy
    session = sessionOn(
      { ...database, endpoint: { ...database.endpoint, host, port } },
      { pipelined: 1, interactive: 2, deadline: 800, statementTimeout: 400 },
    )
  })
  afterAll(async () => {
    await session.close()
    await superuser.end()
    await proxy.close()
  })
  const works = () =>
    until(async () => (await session.reachable('shard-a')) && (await codeOf(session.transaction(acme, (run) => run(WHO)))) === 'no error')

  test('PG-08: a killed backend costs one error and no slot', async () => {
    for (let round = 0; round < 10; round += 1) {
      const work = session.transaction(acme, async (run) => {
        const [row] = await run(sql('SELECT pg_backend_pid() AS pid'))
        await superuser.query('SELECT pg_terminate_backend($1)', [row?.pid])
        await run(WHO)
      })
      expect(await codeOf(work)).toBe('shard-unavailable')
      await works()
    }
    // The proxy hears of an end a moment later.
    await until(() => proxy.connections() <= 3)
  })

  test('PG-08: resets in the middle of pipelined work end in errors, and then all is well', async () => {
    for (let round = 0; round < 10; round += 1) {
      await works()
      const work = Array.from({ length: 50 }, () => codeOf(session.read(acme, WHO)))
      proxy.reset()
      expect(['no error', 'shard-unavailable']).toEqual(expect.arrayContaining([...new Set(await Promise.all(work))]))
    }
    await works()
  })

  test('a shard that is down answers within milliseconds, and is found again', async () => {
    await works()
    proxy.down()
    await until(async () => {
      await codeOf(session.read(acme, WHO))
      const begun = performance.now()
      const error: TenantryError = await session.read(acme, WHO).then(
        () => expect.unreachable(),
        (reason) => reason,
      )
      expect(error).toMatchObject({ code: 'shard-unavailable', retryAfter: 1 })
      return performance.now() - begun < 20
    })
    proxy.mend()
    await works()
  })

  test('a shard that swallows everything is given up at the deadline', async () => {
    await works()
    proxy.blackHole()
    const begun = performance.now()
    expect(await codeOf(session.read(acme, WHO))).toBe('shard-unavailable')
    expect(performance.now() - begun).toBeLessThan(1_500)
    proxy.mend()
    await works()
  })

  test('a slow statement is ended by Postgres and does not count against the shard', async () => {
    await works()
    for (let round = 0; round < 4; round += 1) expect(await codeOf(session.read(acme, sql('SELECT pg_sleep(5)')))).toBe('overloaded')
    expect(await codeOf(session.read(acme, WHO))).toBe('no error')
  })
})

test('PG-14: a tenant whose login is refused, or has no connection left, takes nobody else of the Shard along', async () => {
  const [locked, crowded, well] = [
    await database.tenant('locked', 'database'),
    await database.tenant('crowded', 'database'),
    await database.tenant(),
  ]
  await database.admin.query(`ALTER ROLE "${locked.route.role}" NOLOGIN; ALTER ROLE "${crowded.route.role}" CONNECTION LIMIT 0`)
  const session = sessionOn(database)
  const codes: string[] = []
  for (let round = 0; round < 5; round += 1) {
    for (const tenant of [locked, crowded]) {
      expect(await codeOf(session.read(tenant, WHO))).toBe('shard-unavailable')
      expect(await codeOf(session.transaction(tenant, (run) => run(WHO)))).toBe('shard-unavailable')
    }
    codes.push(await codeOf(session.read(well, WHO)), await codeOf(session.transaction(well, (run) => run(WHO))))
  }
  await session.close()
  expect(new Set(codes)).toEqual(new Set(['no error']))
})

test('a tenant’s connection outlives routing config that was read again and says the same', async () => {
  const tenant = await database.tenant('settled', 'database')
  const login = () => ({ ...(database.login(tenant.route.role) ?? database.credentials) })
  const session = sessionOn({ ...database, login })
  const pid = sql('SELECT pg_backend_pid() AS pid')
  const first = await session.read(tenant, pid)
  expect(await session.read(tenant, pid)).toEqual(first)
  await session.close()
})

describe('TLS', () => {
  const withTls = (database: TestDatabase, host: string, ca?: string): TestDatabase => ({
    ...database,
    endpoint: { ...database.endpoint, host, tls: 'verify-full' },
    credentials: ca === undefined ? database.credentials : { ...database.credentials, ca },
  })

  test('verify-full takes the right CA and host only', async () => {
    const { ca, host } = inject('postgres')
    const good = sessionOn(withTls(database, host, ca))
    const wrongCa = sessionOn(withTls(database, host))
    // The same address by a name that the certificate does not have.
    const wrongHost = sessionOn(withTls(database, '127.1', ca))
    const ssl = sql('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')
    expect(await good.poll('shard-a', ssl)).toEqual([{ ssl: true }])
    expect(await wrongCa.reachable('shard-a')).toBe(false)
    expect(await wrongHost.reachable('shard-a')).toBe(false)
    await Promise.all([good.close(), wrongCa.close(), wrongHost.close()])
  })

  test('a new endpoint is connected to without a restart', async () => {
    const proxy = await startTcpProxy(inject('postgres'))
    const place = { ...database, endpoint: { ...database.endpoint, port: proxy.port } }
    const session = sessionOn(place)
    expect(await session.reachable('shard-a')).toBe(true)
    expect(proxy.connections()).toBe(1)
    place.endpoint = database.endpoint
    expect(await session.reachable('shard-a')).toBe(true)
    await until(() => proxy.connections() === 0)
    await session.close()
    await proxy.close()
  })
})
