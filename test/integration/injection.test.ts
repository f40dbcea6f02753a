import { DatabaseError } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { attempt, type Line, lineOn, logIn } from '../builders/attacker.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { busOn, command, sessionOn } from '../builders/runtime.ts'

type Side = { tenant: TenantContext; secret: string; task: string; line: Line }

let database: TestDatabase
const sides = new Map<Isolation, [Side, Side]>()

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  const lay = async (name: string, isolation: Isolation): Promise<Side> => {
    const tenant = await database.tenant(name, isolation)
    const session = sessionOn(database)
    const { id: task } = await command(busOn(session), tenant, 'CreateTask', { title: `secret of ${name}` })
    await session.close()
    const line = lineOn(await logIn(database, tenant.route.role, tenant.route.database))
    return { tenant, secret: `secret of ${name}`, task, line }
  }
  for (const isolation of ISOLATIONS) sides.set(isolation, [await lay('acme', isolation), await lay('globex', isolation)])
})

afterAll(async () => {
  for (const { line } of [...sides.values()].flat()) await line.client.end()
  await database.drop()
})

function pair(isolation: Isolation): [Side, Side] {
  const found = sides.get(isolation)
  if (found === undefined) throw new Error('no such tenants')
  return found
}

const tasksOf = ({ tenant }: Side) => `"${tenant.route.schema}".tasks`

describe('PG-09: what SQL injection gets at, in each isolation, as the README says', () => {
  const ways: [string, (theirs: Side) => string[]][] = [
    ['app.tenant_id', ({ tenant }) => [`SELECT set_config('app.tenant_id', '${tenant.uid}', true)`]],
    ['SET ROLE', ({ tenant }) => [`SET LOCAL ROLE "${tenant.route.role}"`]],
    ['RESET ROLE', ({ tenant }) => ['RESET ROLE', `SET LOCAL ROLE "${tenant.route.role}"`]],
    ['both', ({ tenant }) => ['RESET ROLE', `SET LOCAL ROLE "${tenant.route.role}"`, `SET LOCAL app.tenant_id = '${tenant.uid}'`]],
  ]
  const contained: Record<Isolation, Record<string, boolean>> = {
    row: { 'app.tenant_id': false, 'SET ROLE': true, 'RESET ROLE': true, both: false },
    schema: { 'app.tenant_id': true, 'SET ROLE': false, 'RESET ROLE': false, both: false },
    database: { 'app.tenant_id': true, 'SET ROLE': true, 'RESET ROLE': true, both: true },
  }

  test.each(ISOLATIONS)('PG-09: isolation %s', async (isolation) => {
    const [mine, theirs] = pair(isolation)
    const seen: Record<string, boolean> = {}
    for (const [name, way] of ways) {
      const { text } = await attempt(mine.line, mine.tenant, [...way(theirs), `SELECT title FROM ${tasksOf(theirs)}`])
      seen[name] = !text.includes(theirs.secret)
    }
    expect(seen).toEqual(contained[isolation])
  })

  test('PG-09: the login of a tenant with a database gets nowhere else, and no other login into it', async () => {
    const [mine, theirs] = pair('database')
    const refusals = [
      [mine.tenant.route.role, database.name],
      [mine.tenant.route.role, database.names.template],
      [mine.tenant.route.role, theirs.tenant.route.database],
      [database.names.rows, mine.tenant.route.database],
      [database.names.rows, database.names.template],
    ] as const
    for (const [role, to] of refusals)
      await expect(logIn(database, role, to), `${role} to ${to}`).rejects.toThrow('permission denied for database')
  })

  test('PG-09: tenants of the shared tables share what Postgres keeps by role: large objects and table locks', async () => {
    const [mine, theirs] = pair('row')
    const { text } = await attempt(theirs.line, theirs.tenant, ["SELECT lo_from_bytea(0, 'planted by hand') AS oid"])
    const planted = /"oid":(\d+)/.exec(text)?.[1] ?? '0'
    expect((await attempt(mine.line, mine.tenant, [`SELECT convert_from(lo_get(${planted}), 'UTF8')`])).text).toContain('planted by hand')
    expect((await attempt(mine.line, mine.tenant, [`LOCK TABLE ${tasksOf(theirs)}`])).refused).toBeUndefined()
  })
})

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  test('PG-10: a tenant can plant nothing that another statement would find', async () => {
    const [mine] = pair(isolation)
    const places = [mine.tenant.route.schema, 'tenantry', 'tenantry_rows', 'tenant', 'public', 'pg_catalog', 'pg_temp']
    for (const place of places) {
      for (const text of [
        `CREATE FUNCTION "${place}".lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'`,
        `CREATE TABLE "${place}".head ()`,
        `CREATE OPERATOR "${place}".= (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)`,
      ])
        expect((await attempt(mine.line, mine.tenant, [text])).refused, `${text}`).toBeDefined()
    }
    expect((await attempt(mine.line, mine.tenant, ['CREATE SCHEMA planted'])).refused).toContain('permission denied')
    expect((await attempt(mine.line, mine.tenant, ['CREATE EXTENSION pg_trgm'])).refused).toBeDefined()
  })

  test('PG-10: a search_path that a tenant gives itself changes nothing of what it is served', async () => {
    const [mine] = pair(isolation)
    await attempt(mine.line, mine.tenant, [`ALTER ROLE CURRENT_USER SET search_path = "${mine.tenant.route.schema}", pg_catalog`])
    const session = sessionOn(database)
    expect((await command(busOn(session), mine.tenant, 'UpdateTask', { id: mine.task, priority: 'low' })).body).toContain(mine.secret)
    await session.close()
  })

  test('PG-06: a function that leaks and casts that raise are shown own rows only', async () => {
    const [mine, theirs] = pair(isolation)
    const superuser = await connectAsSuperuser(inject('postgres'), mine.tenant.route.database)
    await superuser.query(`CREATE OR REPLACE FUNCTION tenantry.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
      AS $$ BEGIN RAISE NOTICE 'shown: %', $1; RETURN true; END $$; GRANT EXECUTE ON FUNCTION tenantry.leak(text) TO PUBLIC`)
    const shown = await attempt(mine.line, mine.tenant, [`SELECT id FROM ${tasksOf(mine)} WHERE tenantry.leak(title)`])
    expect(shown.text).toContain(`shown: ${mine.secret}`)
    expect(shown.text).not.toContain(theirs.secret)
    for (const column of ['title::int', 'title::uuid', '1 / (length(title) - length(title))']) {
      const raised = await attempt(mine.line, mine.tenant, [
        `SELECT id FROM ${tasksOf(mine)} WHERE ${column} IS NULL AND title = '${theirs.secret}'`,
      ])
      expect(raised.text).not.toContain(theirs.secret)
    }
    await superuser.query('DROP FUNCTION tenantry.leak(text)')
    await superuser.end()
  })

  test('PG-05: whether a neighbour has an id cannot be told from an insert, nor from a command', async () => {
    const [mine, theirs] = pair(isolation)
    const missing = '01890a5d-ac96-774b-bcce-b302099a8057'
    const insert = (tenant: TenantContext, id: string, ending = '') =>
      `INSERT INTO ${tasksOf(mine)} SELECT '${tenant.uid}', '${id}', 'x', NULL, 'low', 'pending', '{}', NULL, NULL, 1, 1, now(), now(), NULL ${ending}`
    for (const ending of ['', 'ON CONFLICT DO NOTHING', 'ON CONFLICT (tenant_id, id) DO UPDATE SET title = excluded.title']) {
      for (const { tenant } of isolation === 'row' ? [mine, theirs] : [mine]) {
        const [taken, free] = [
          await attempt(mine.line, mine.tenant, [insert(tenant, theirs.task, ending), 'ROLLBACK']),
          await attempt(mine.line, mine.tenant, [insert(tenant, missing, ending), 'ROLLBACK']),
        ]
        expect(taken).toEqual(free)
      }
    }
    const session = sessionOn(database)
    const refusal = (id: string) => command(busOn(session), mine.tenant, 'UpdateTask', { id, title: 'x' }).catch((error) => error)
    const [foreign, absent] = [await refusal(theirs.task), await refusal(missing)]
    expect({ code: foreign.code, message: foreign.message }).toEqual({ code: 'not-found', message: absent.message })
    await session.close()
  })

  test('PG-05: a foreign key to guess with cannot be made', async () => {
    const [mine, theirs] = pair(isolation)
    const { schema } = mine.tenant.route
    const guesses = [
      `CREATE TABLE "${schema}".guess (t uuid, i uuid, FOREIGN KEY (t, i) REFERENCES ${tasksOf(theirs)})`,
      `CREATE TEMPORARY TABLE guess (t uuid, i uuid, FOREIGN KEY (t, i) REFERENCES ${tasksOf(theirs)})`,
      `ALTER TABLE "${schema}".checkpoints ADD FOREIGN KEY (tenant_id, position) REFERENCES ${tasksOf(theirs)}`,
    ]
    for (const guess of guesses) expect((await attempt(mine.line, mine.tenant, [guess])).refused).toMatch(/denied|must be owner/)
  })

  test('PG-05: EXPLAIN in injected SQL counts the rows of others in shared tables, as the README says, and shows none', async () => {
    const [mine, theirs] = pair(isolation)
    const ways = ['indexscan = off', 'indexonlyscan = off', 'bitmapscan = off', 'seqscan = on'].map((way) => `SET LOCAL enable_${way}`)
    // With its database: the schema is called the same in each.
    const explain = `EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) SELECT title FROM "${theirs.tenant.route.database}".${tasksOf(theirs)}`
    const { refused, text } = await attempt(mine.line, mine.tenant, [...ways, explain])
    expect(text).not.toContain(theirs.secret)
    const removed = Number(/"Rows Removed by Filter":(\d+)/.exec(text)?.[1] ?? 0)
    expect({ refused: refused !== undefined, counted: removed > 0 }).toEqual({ refused: isolation !== 'row', counted: isolation === 'row' })
    printFigure(`PG-05: isolation ${isolation}: told by EXPLAIN of others: ${removed > 0 ? 'how many rows there are' : 'nothing'}`)
  })

  test('PG-05: what the database says stays out of what a caller is told', async () => {
    const [mine] = pair(isolation)
    const session = sessionOn(database)
    const texts = [
      'SELECT 1 / 0',
      "SELECT 'x'::int",
      'INSERT INTO @tasks (tenant_id) VALUES (NULL)',
      'SELECT * FROM @nothing',
      'DELETE FROM tenantry.tenants',
    ]
    for (const text of texts) {
      const statement = { name: text, text: (schema: string) => text.replaceAll('@', schema), values: [] }
      const error = await session.read(mine.tenant, statement).then(
        () => expect.unreachable(),
        (reason) => reason,
      )
      expect(error.cause).toBeInstanceOf(DatabaseError)
      expect(['Something went wrong.', "The tenant's place is being changed."]).toContain(error.message)
    }
    await session.close()
  })
})
