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
const COUNT = sql('SELECT count(*) AS tasks FROM @tasks')
const addTask = (tenant: TenantContext) =>
  sql(
    "INSERT INTO @tasks SELECT $1, gen_random_uuid(), 'a title', NULL, 'low', 'pending', '{}', NULL, NULL, 1, 1, now(), now(), NULL RETURNING id",
    tenant.uid,
  )

let database: TestDatabase
let acme: TenantContext
let globex: TenantContext

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  acme = await database.tenant('acme')
  globex = await database.tenant('globex')
})

afterAll(() => database.drop())

async function using<T>(settings: Parameters<typeof sessionOn>[1], work: (session: Session) => Promise<T>): Promise<T> {
  const session = sessionOn(database, settings)
  try {
    return await work(session)
  } finally {
    await session.close()
  }
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: TenantryError) => error.code,
  )
}

describe('PG-03: fail closed', () => {
  const withRole = (role: string): TenantContext => ({ ...acme, route: { ...acme.route, role } })

  test.for(['', 'none', 'garbage', 't_00000000000000000000000000000000', "x'; RESET ROLE; --"])('PG-03: role %j sees no rows', (role) =>
    using({}, async (session) => {
      await session.read(acme, addTask(acme))
      expect(await codeOf(session.read(withRole(role), COUNT))).not.toBe('no error')
      expect(await codeOf(session.transaction(withRole(role), (run) => run(COUNT)))).not.toBe('no error')
    }),
  )

  test('PG-03: the runtime itself sees no tenant, only heads', () =>
    using({}, async (session) => {
      const count: Statement = { name: 'count', text: () => `SELECT count(*) FROM "${acme.route.schema}".tasks`, values: [] }
      expect(await codeOf(session.poll('shard-a', count))).not.toBe('no error')
      expect(await session.poll('shard-a', { name: 'heads', text: () => 'SELECT tenant FROM tenantry.head', values: [] })).toHaveLength(2)
    }))

  test("PG-03: one tenant's role reads nothing of another's schema and head", () =>
    using({}, async (session) => {
      const astray: TenantContext = { ...acme, route: { ...acme.route, schema: globex.route.schema } }
      expect(await codeOf(session.read(astray, COUNT))).not.toBe('no error')
      expect(await session.read(acme, sql('SELECT tenant FROM tenantry.head'))).toEqual([{ tenant: acme.uid }])
      expect(await session.read(acme, sql('UPDATE tenantry.head SET position = 9 WHERE tenant = $1 RETURNING 1', globex.uid))).toEqual([])
    }))

  test('PG-03: a shard without endpoint or login is unavailable', () =>
    using({}, async (session) => {
      expect(await codeOf(session.read({ ...acme, route: { ...acme.route, shard: 'shard-z' } }, COUNT))).toBe('shard-unavailable')
    }))
})

describe('PG-07: nothing leaks from one use of a connection to the next', () => {
  const one = { pipelined: 1, interactive: 1 }
  const BROKEN = [
    sql('SELECT 1 / 0'),
    sql('SELECT no_such_column FROM @tasks'),
    sql('no sql at all'),
    sql("SELECT set_config('search_path', 'pg_catalog', true), 1 / 0"),
    sql('SELECT $1::int', 'not a number'),
    sql('INSERT INTO @tasks (tenant_id) VALUES (NULL)'),
  ]

  test('PG-07: two tenants on one connection, with errors at every place of a bundle', () =>
    using(one, async (session) => {
      for (const broken of BROKEN) {
        for (const at of [0, 1, 2]) {
          const statements = [addTask(acme), addTask(acme)].toSpliced(at, 0, broken)
          const before = await session.read(acme, COUNT)
          const [refused, theirs, poll] = await Promise.all([
            codeOf(session.bundle(acme, statements)),
            session.read(globex, WHO),
            session.poll('shard-a', WHO),
          ])
          expect(refused).not.toBe('no error')
          expect(theirs).toEqual([{ role: globex.route.role, path: '""' }])
          expect(poll).toEqual([{ role: database.credentials.username, path: '""' }])
          expect(await session.read(acme, COUNT)).toEqual(before)
        }
      }
    }))

  test('PG-07: a transaction that throws at any await leaves nothing behind', () =>
    using(one, async (session) => {
      const before = await session.read(acme, COUNT)
      for (const failAt of [0, 1, 2, 3]) {
        const work = session.transaction(acme, async (run) => {
          for (const step of [0, 1, 2, 3]) {
            if (step === failAt) throw new Error(`at step ${step}`)
            await run(addTask(acme))
          }
        })
        await expect(work).rejects.toThrow(`at step ${failAt}`)
        expect(await session.transaction(globex, (run) => run(WHO))).toEqual([{ role: globex.route.role, path: '""' }])
      }
      for (const broken of BROKEN) {
        expect(await codeOf(session.transaction(acme, (run) => run(broken)))).not.toBe('no error')
        expect(await session.transaction(globex, (run) => run(WHO))).toEqual([{ role: globex.route.role, path: '""' }])
      }
      expect(await session.read(acme, COUNT)).toEqual(before)
    }))

  test('a transaction sends several statements at once and gives the rows of the last', () =>
    using(one, async (session) => {
      const last = await session.transaction(acme, (run) =>
        run(addTask(acme), sql('UPDATE @tasks SET version = 2'), sql('SELECT min(version) FROM @tasks')),
      )
      expect(last).toEqual([{ min: 2 }])
      expect(await session.read(acme, sql('SELECT min(version) FROM @tasks'))).toEqual([{ min: 2 }])
    }))

  test('PG-07: a transaction cannot be used when it is over', () =>
    using(one, async (session) => {
      let escaped: ((statement: Statement) => Promise<unknown>) | undefined
      await session.transaction(acme, async (run) => {
        escaped = run
        await run(WHO)
      })
      await session.transaction(globex, async (run) => {
        await expect(escaped?.(WHO)).rejects.toThrow('over')
        expect(await run(WHO)).toEqual([{ role: globex.route.role, path: '""' }])
      })
    }))

  test('PG-07: callers that go away mid-flight disturb nobody', () =>
    using(one, async (session) => {
      const work = Array.from({ length: 200 }, async (_, index) => {
        const controller = new AbortController()
        const tenant = index % 2 === 0 ? acme : globex
        const reading = session.read(tenant, WHO, controller.signal)
        if (index % 3 === 0) controller.abort(new Error('gone'))
        const result = await reading.catch((error: Error) => error.message)
        return result === 'gone' || JSON.stringify(result).includes(tenant.route.role)
      })
      expect(await Promise.all(work)).not.toContain(false)
    }))

  test('PG-07: statements thrown out of the cache and names in flight stay right', () =>
    using({ ...one, prepared: 3 }, async (session) => {
      const work = Array.from({ length: 300 }, async (_, index) => {
        const tenant = index % 2 === 0 ? acme : globex
        const text = `SELECT ${index % 11} AS number, current_user::text AS role FROM @tasks ${index % 7 === 0 ? 'WHERE 1 / 0 = 1' : ''} LIMIT 1`
        const [row] = await session.read(tenant, sql(text)).catch(() => [undefined])
        return row === undefined || (row.role === tenant.route.role && row.number === index % 11)
      })
      await session.read(globex, addTask(globex))
      expect(await Promise.all(work)).not.toContain(false)
    }))
})

describe('PG-08: release discipline', () => {
  let proxy: TcpProxy
  let session: Session
  const superuser = new Client({ connectionString: inject('postgres').superuserUrl })
  beforeAll(async () => {
    await superuser.connect()
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

  test('PG-08: no slot is lost after a thousand faults', async () => {
    for (let round = 0; round < 1_000; round += 1) {
      const broken = round % 2 === 0 ? sql('SELECT 1 / 0') : sql('SELECT * FROM no_such_table')
      await codeOf(session.transaction(acme, (run) => run(broken)))
    }
    await works()
    await Promise.all([1, 2].map(() => session.transaction(acme, (run) => run(WHO))))
    expect(proxy.connections()).toBeLessThanOrEqual(3)
  })

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
    expect(proxy.connections()).toBeLessThanOrEqual(3)
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
