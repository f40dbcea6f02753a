import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { TenantryError } from '../../runtime/errors.ts'
import type { SessionSettings } from '../../runtime/shards/endpoint.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { Statement, Value } from '../../runtime/shards/statement.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { type PgBouncer, startPgBouncer } from '../builders/pgbouncer.ts'
import { sessionOn } from '../builders/runtime.ts'

const sql = (text: string, ...values: Value[]): Statement => ({ name: text, text: (schema) => text.replaceAll('@', schema), values })
const WHO = sql(
  "SELECT current_user::text AS role, current_setting('search_path') AS path, current_setting('app.tenant_id', true) AS tenant",
)
const COUNT = sql('SELECT count(*) AS tasks FROM @tasks')
const addTask = (tenant: TenantContext) =>
  sql(
    "INSERT INTO @tasks SELECT $1, gen_random_uuid(), 'a title', NULL, 'low', 'pending', '{}', NULL, NULL, 1, 1, now(), now(), NULL RETURNING id",
    tenant.uid,
  )

let database: TestDatabase
let acme: TenantContext
let globex: TenantContext
/** What the way to the database asks of every session. */
let settings: Partial<SessionSettings> = {}

async function using<T>(wanted: Partial<SessionSettings>, work: (session: Session) => Promise<T>): Promise<T> {
  const session = sessionOn(database, { ...wanted, ...settings })
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

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  beforeAll(async () => {
    database = await createDatabase(inject('postgres'))
    acme = await database.tenant('acme', isolation)
    globex = await database.tenant('globex', isolation)
  })
  afterAll(() => database.drop())

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
        const heads: Statement = { name: 'heads', text: () => 'SELECT tenant FROM tenantry.head', values: [] }
        expect(await session.poll('shard-a', heads)).toHaveLength(isolation === 'database' ? 0 : 2)
      }))

    test("PG-03: one tenant's role reads nothing of another's place and head", () =>
      using({}, async (session) => {
        await session.read(globex, addTask(globex))
        const { database: place, schema } = globex.route
        const astray: TenantContext = { ...acme, route: { ...acme.route, database: place, schema } }
        const theirs = sql('SELECT id FROM @tasks WHERE tenant_id = $1', globex.uid)
        expect(await session.read(astray, theirs).catch(() => [])).toEqual([])
        expect(await codeOf(session.read(astray, theirs))).toBe(isolation === 'row' ? 'no error' : 'shard-unavailable')
      }))

    test('PG-03: a tenant sees and moves its own head only', () =>
      using({}, async (session) => {
        expect(await session.read(acme, sql('SELECT tenant FROM tenantry.head'))).toEqual([{ tenant: acme.uid }])
        expect(await session.read(acme, sql('UPDATE tenantry.head SET position = 9 WHERE tenant = $1 RETURNING 1', globex.uid))).toEqual([])
      }))

    test('PG-03: a shard without endpoint or login is unavailable', () =>
      using({}, async (session) => {
        expect(await codeOf(session.read({ ...acme, route: { ...acme.route, shard: 'shard-z' } }, COUNT))).toBe('shard-unavailable')
      }))
  })

  describe('PG-07: nothing leaks from one use of a connection to the next', reuseConnections)
})

/** What must hold of connections that are used over and over, by tenants acme and globex. */
function reuseConnections(): void {
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
          expect(theirs).toEqual([{ role: globex.route.role, path: '""', tenant: globex.uid }])
          expect(poll).toMatchObject([{ role: database.credentials.username, path: '""' }])
          expect(['', null]).toContain(poll[0]?.tenant)
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
        expect(await session.transaction(globex, (run) => run(WHO))).toEqual([{ role: globex.route.role, path: '""', tenant: globex.uid }])
      }
      for (const broken of BROKEN) {
        expect(await codeOf(session.transaction(acme, (run) => run(broken)))).not.toBe('no error')
        expect(await session.transaction(globex, (run) => run(WHO))).toEqual([{ role: globex.route.role, path: '""', tenant: globex.uid }])
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
        expect(await run(WHO)).toEqual([{ role: globex.route.role, path: '""', tenant: globex.uid }])
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
        return result === 'gone' || JSON.stringify(result).includes(tenant.uid)
      })
      expect(await Promise.all(work)).not.toContain(false)
    }))

  test('PG-07: statements thrown out of the cache and names in flight stay right', () =>
    using({ ...one, prepared: 3 }, async (session) => {
      const work = Array.from({ length: 300 }, async (_, index) => {
        const tenant = index % 2 === 0 ? acme : globex
        const text = `SELECT ${index % 11} AS number, current_setting('app.tenant_id') AS tenant FROM @tasks ${index % 7 === 0 ? 'WHERE 1 / 0 = 1' : ''} LIMIT 1`
        const [row] = await session.read(tenant, sql(text)).catch(() => [undefined])
        return row === undefined || (row.tenant === tenant.uid && row.number === index % 11)
      })
      await session.read(globex, addTask(globex))
      expect(await Promise.all(work)).not.toContain(false)
    }))
}

describe.for(ISOLATIONS)('PG-07: behind PgBouncer in transaction mode, isolation %s', (isolation) => {
  let direct: TestDatabase
  let bouncer: PgBouncer
  /** What the tenants' statements come to the server with. */
  let logins: string[]
  beforeAll(async () => {
    direct = await createDatabase(inject('postgres'))
    acme = await direct.tenant('acme', isolation)
    globex = await direct.tenant('globex', isolation)
    const own = [acme, globex].flatMap(({ route }) => direct.login(route.role) ?? [])
    logins = isolation === 'database' ? own.map(({ username }) => username) : [direct.credentials.username]
    bouncer = await startPgBouncer(direct.endpoint, direct.credentials, own)
    database = { ...direct, endpoint: { ...direct.endpoint, host: bouncer.host, port: bouncer.port } }
    settings = { prepared: 0 }
  })
  afterAll(async () => {
    settings = {}
    await bouncer?.stop()
    await direct?.drop()
  })

  reuseConnections()

  test('PG-07: the tenants of many sessions share one server connection for each login, and none is shown another', async () => {
    const sessions = Array.from({ length: 8 }, () => sessionOn(database, { ...settings, pipelined: 2, interactive: 1 }))
    const work = sessions.flatMap((session, index) =>
      Array.from({ length: 50 }, async (_, round) => {
        const tenant = (index + round) % 2 === 0 ? acme : globex
        const rows = round % 5 === 0 ? await session.transaction(tenant, (run) => run(WHO)) : await session.read(tenant, WHO)
        return rows.length === 1 && rows[0]?.tenant === tenant.uid && rows[0].role === tenant.route.role
      }),
    )
    expect(await Promise.all(work)).not.toContain(false)
    const backends = await direct.admin.query('SELECT usename AS login FROM pg_stat_activity WHERE usename = ANY ($1)', [logins])
    expect(backends.rows.map(({ login }) => login).sort()).toEqual(logins.toSorted())
    await Promise.all(sessions.map((session) => session.close()))
    printFigure(`PG-07: ${work.length} uses by two tenants behind ${bouncer.version}, isolation ${isolation}, leaks 0`)
  })
})

describe('PG-03: shared tables', () => {
  const SHOWN = sql('SELECT id FROM @tasks')

  beforeAll(async () => {
    database = await createDatabase(inject('postgres'))
    acme = await database.tenant('acme', 'row')
    globex = await database.tenant('globex', 'row')
    await using({}, (session) => session.read(acme, addTask(acme)))
  })
  afterAll(() => database.drop())

  test.for(['', 'garbage', '00000000-0000-0000-0000-000000000000', "' OR true --"])('PG-03: app.tenant_id %j shows no rows', (uid) =>
    using({ pipelined: 1, interactive: 1 }, async (session) => {
      expect(await session.read(acme, SHOWN)).toHaveLength(1)
      for (const nobody of [
        { ...acme, uid },
        { ...globex, uid },
      ]) {
        expect(await session.read(nobody, SHOWN).catch(() => [])).toEqual([])
        expect(await session.transaction(nobody, (run) => run(SHOWN)).catch(() => [])).toEqual([])
        expect(await codeOf(session.read(nobody, addTask(acme)))).not.toBe('no error')
      }
    }),
  )

  test('PG-03: the role alone shows no rows: before a tenant was ever named, and after the commit of one that was', async () => {
    const { asTenant, admin, names } = database
    const roleOnly = async () => {
      await admin.query('BEGIN')
      await admin.query("SELECT set_config('role', $1, true)", [names.rows])
      const { rows } = await admin.query(
        "SELECT current_setting('app.tenant_id', true) AS named, (SELECT count(*)::int FROM tenantry_rows.tasks) AS shown",
      )
      await admin.query('COMMIT')
      return rows
    }
    expect(await roleOnly()).toEqual([{ named: null, shown: 0 }])
    expect(await asTenant(acme, 'SELECT id FROM tasks')).toHaveLength(1)
    expect(await roleOnly()).toEqual([{ named: '', shown: 0 }])
    // Its owner is behind the wall too.
    expect((await admin.query('SELECT id FROM tenantry_rows.tasks')).rows).toEqual([])
  })
})
