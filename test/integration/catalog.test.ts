import type { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { readDatabase } from '../../operator/postgres/catalog.ts'
import type { Row, Value } from '../../operator/postgres/connect.ts'
import { SHARED_LIMITS } from '../../operator/postgres/login.ts'
import { ROWS_SCHEMA } from '../../operator/postgres/names.ts'
import { migrateRows, secureTables } from '../../operator/postgres/rows.ts'
import { grantLogin } from '../../operator/postgres/statements.ts'
import { PLANS } from '../../operator/tenant/limits.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { attempt, lineOn, logIn } from '../builders/attacker.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { lintRoles, lintShared, lintViews } from '../builders/lint.ts'
import { connectAsSuperuser, connectTo } from '../builders/provision.ts'

let database: TestDatabase
let superuser: Client
let tenants: TenantContext[]

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  tenants = []
  for (const isolation of ISOLATIONS) tenants.push(await database.tenant('acme', isolation), await database.tenant('globex', isolation))
  superuser = await connectAsSuperuser(inject('postgres'), database.name)
})

afterAll(async () => {
  await superuser.end()
  await database.drop()
})

/** Does the work in each database that there is: the Shard's, the template, the tenants' own. */
async function everywhere(work: (client: Client, name: string) => Promise<void>): Promise<void> {
  const names = new Set([database.name, database.names.template, ...tenants.map(({ route }) => route.database)])
  for (const name of names) {
    const client = await connectAsSuperuser(inject('postgres'), name)
    await work(client, name).finally(() => client.end())
  }
}

describe('PG-02: the catalog', () => {
  test('PG-02: every shared table is behind its policy, no role is more than it must be', async () => {
    const findings = [
      ...(await lintShared(superuser, ROWS_SCHEMA)),
      ...(await lintViews(superuser, 'tenantry')),
      ...(await lintRoles(
        superuser,
        database.names,
        tenants.map(({ route }) => route.role),
      )),
    ]
    const { rows } = await superuser.query(
      `SELECT count(*)::int AS tables FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r'`,
      [ROWS_SCHEMA],
    )
    expect(rows[0]?.tables).toBeGreaterThanOrEqual(5)
    printFigure(`PG-02: ${rows[0]?.tables} shared tables, findings ${findings.length}`)
    expect(findings).toEqual([])
  })

  test('PG-02: heads are shown to their own tenant only, in each database', () =>
    everywhere(async (client) => {
      const { rows } = await client.query(
        `SELECT p.polname, p.polcmd, p.polroles::regrole[]::text AS roles FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
          WHERE c.relname IN ('head', 'relayed') AND c.relrowsecurity AND c.relforcerowsecurity AND pg_get_expr(p.polqual, c.oid) = 'true'`,
      )
      const { adminUser } = inject('postgres')
      expect(rows).toHaveLength(4)
      // The operator, and the runtime's poll, which may only read positions.
      for (const { polcmd, roles } of rows) expect([`* {${adminUser}}`, `r {${database.names.runtime}}`]).toContain(`${polcmd} ${roles}`)
    }))

  // The first are holes in the wall itself.
  const HOLES = 9
  const PLANTED = [
    'CREATE TABLE @open (tenant_id uuid NOT NULL)',
    'ALTER TABLE @tasks NO FORCE ROW LEVEL SECURITY',
    'ALTER TABLE @tasks DISABLE ROW LEVEL SECURITY',
    'DROP POLICY tenant ON @tasks',
    'DROP POLICY tenant ON @tasks; CREATE POLICY tenant ON @tasks FOR SELECT USING (true)',
    'ALTER POLICY tenant ON @tasks WITH CHECK (true)',
    'ALTER POLICY tenant ON @tasks USING (true)',
    'CREATE POLICY other ON @tasks USING (true)',
    `DROP POLICY tenant ON @tasks; CREATE POLICY tenant ON @tasks USING (tenant_id = current_setting('app.tenant_id')::uuid OR true)`,
    'ALTER TABLE @task_due DROP CONSTRAINT task_due_pkey; ALTER TABLE @task_due ALTER tenant_id DROP NOT NULL',
    'CREATE INDEX ON @tasks (assignee)',
    'CREATE UNIQUE INDEX ON @tasks (id)',
    'ALTER TABLE @tasks ADD UNIQUE (id); ALTER TABLE @events ADD FOREIGN KEY (aggregate_id) REFERENCES @tasks (id)',
    'CREATE SEQUENCE @numbers',
    'CREATE VIEW @seen AS SELECT * FROM @tasks',
    'CREATE MATERIALIZED VIEW @kept AS SELECT * FROM @tasks',
    `CREATE FUNCTION @all() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint'`,
    `CREATE FUNCTION @all() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_temp, tenantry AS 'SELECT 1::bigint'`,
    'ALTER ROLE @@rows BYPASSRLS',
    'ALTER ROLE @@runtime CREATEROLE',
    'ALTER ROLE @@login REPLICATION',
    'ALTER TABLE @tasks OWNER TO @@rows',
    'GRANT pg_read_all_data TO @@rows',
  ]
  test('PG-02, PG-04: whatever is wrong is found', async () => {
    const { names } = database
    const missed: string[] = []
    for (const planted of PLANTED) {
      await superuser.query('BEGIN')
      const text = planted.replaceAll('@@rows', names.rows).replaceAll('@@runtime', names.runtime).replaceAll('@@login', names.login)
      await superuser.query(text.replaceAll('@', `${ROWS_SCHEMA}.`))
      const findings = [...(await lintShared(superuser, ROWS_SCHEMA)), ...(await lintRoles(superuser, names, []))]
      if (findings.length === 0) missed.push(planted)
      await superuser.query('ROLLBACK')
    }
    await superuser.query('BEGIN')
    await superuser.query(`CREATE VIEW ${ROWS_SCHEMA}.seen WITH (security_invoker = true) AS SELECT * FROM ${ROWS_SCHEMA}.tasks;
      CREATE FUNCTION ${ROWS_SCHEMA}.all() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT 1'`)
    expect(await lintShared(superuser, ROWS_SCHEMA)).toEqual([])
    await superuser.query('ROLLBACK')
    printFigure(`PG-02, PG-04: ${PLANTED.length - missed.length} of ${PLANTED.length} planted faults found`)
    expect(missed).toEqual([])
  })

  test('OP-16: the operator sees each hole in a shared table, and closes it', async () => {
    const { names, admin } = database
    const seen = async () => (await readDatabase({ query }, names)).rowsSecure
    const query = async <R extends object>(text: string, values: readonly unknown[] = []) => (await admin.query<R>(text, [...values])).rows
    expect(await seen()).toBe(true)
    for (const planted of PLANTED.slice(0, HOLES)) {
      await admin.query('BEGIN')
      await admin.query(planted.replaceAll('@', `${ROWS_SCHEMA}.`))
      expect(await seen(), planted).toBe(false)
      await admin.query(secureTables())
      expect([await seen(), ...(await lintShared(admin, ROWS_SCHEMA))], planted).toEqual([true])
      await admin.query('ROLLBACK')
    }
  })

  test('PG-02: a migration that brings a shared table brings its policy too', async () => {
    const migration = {
      version: 9_000,
      name: 'notes',
      sql: 'CREATE TABLE notes (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id));',
    }
    await database.admin.query(`BEGIN; ${migrateRows(database.names, migration)}`)
    const findings = await lintShared(database.admin, ROWS_SCHEMA)
    await database.admin.query('ROLLBACK')
    expect(findings).toEqual([])
  })
})

test('PG-11: PUBLIC has nothing: in the Shard’s database, the template and tenants’ own', () =>
  everywhere(async (client, name) => {
    const { rows } = await client.query(
      `SELECT format('%s %s on %s', coalesce(g.rolname, 'PUBLIC'), x.privilege_type, 'database') AS left FROM pg_database d,
              aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) x LEFT JOIN pg_roles g ON g.oid = x.grantee WHERE d.datname = current_database() AND x.grantee = 0
       UNION ALL
       SELECT format('PUBLIC %s on schema %s', x.privilege_type, n.nspname) FROM pg_namespace n, aclexplode(n.nspacl) x
        WHERE x.grantee = 0 AND n.nspname NOT IN ('pg_catalog', 'information_schema')
       UNION ALL
       SELECT format('PUBLIC %s on %s', x.privilege_type, c.oid::regclass) FROM pg_class c, aclexplode(c.relacl) x
        WHERE x.grantee = 0 AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)`,
    )
    expect(rows, name).toEqual([])
    await client.query(
      `BEGIN; SET LOCAL ROLE ${inject('postgres').adminUser}; CREATE FUNCTION tenantry.fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
    )
    const { rows: fresh } = await client.query("SELECT has_function_privilege('public', 'tenantry.fresh()', 'EXECUTE') AS open")
    await client.query('ROLLBACK')
    expect(fresh, name).toEqual([{ open: false }])
  }))

test('PG-11: who may connect where', () =>
  everywhere(async (client, name) => {
    const { rows } = await client.query(
      `SELECT r.rolname FROM pg_roles r WHERE NOT r.rolsuper AND r.rolcanlogin AND has_database_privilege(r.oid, current_database(), 'CONNECT')
          AND r.rolname <> $1 ORDER BY r.rolname`,
      [inject('postgres').adminUser],
    )
    const expected =
      name === database.name
        ? [database.names.login]
        : tenants.filter(({ route }) => route.database === name).map(({ route }) => route.role)
    expect(rows.map(({ rolname }) => rolname)).toEqual(expected)
  }))

test('PG-12: what a tenant can list names nobody: the names of schemas, roles and databases are made of UIDs', async () => {
  for (const tenant of tenants) {
    const client = await logIn(database, tenant.route.role, tenant.route.database)
    const { text } = await attempt(lineOn(client), tenant, [
      'SELECT datname FROM pg_database',
      'SELECT rolname, rolconfig FROM pg_roles',
      'SELECT nspname FROM pg_namespace',
      'SELECT description FROM pg_shdescription',
      'SELECT datname, usename, query FROM pg_stat_activity',
    ])
    await client.end()
    expect(text).toContain(tenants[0] === undefined ? '' : database.name)
    for (const word of ['acme', 'globex', 'SCRAM-SHA-256']) expect(text).not.toContain(word)
    for (const refused of ['SELECT * FROM pg_authid', 'SELECT * FROM pg_shadow', 'SELECT * FROM tenantry.tenants']) {
      const line = lineOn(await logIn(database, tenant.route.role, tenant.route.database))
      expect((await attempt(line, tenant, [refused])).refused).toContain('permission denied')
      await line.client.end()
    }
  }
})

describe('PG-14: the limits of a login', () => {
  test('PG-14: times are limited for the runtime and for each tenant’s own login', async () => {
    const own = tenants.filter(({ route }) => route.isolation === 'database').map(({ route }) => route)
    const logins = [
      { role: database.names.login, to: database.name, limits: SHARED_LIMITS },
      ...own.map(({ role, database: to }) => ({ role, to, limits: PLANS.premium })),
    ]
    for (const { role, to, limits } of logins) {
      const client = await logIn(database, role, to)
      const { rows } = await client.query(`SELECT name, setting FROM pg_settings
        WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'search_path') ORDER BY name`)
      await client.end()
      expect(rows.map(({ setting }) => setting)).toEqual([limits.idleInTransactionMs, limits.lockMs, '""', limits.statementMs].map(String))
    }
  })

  test('OP-16: the operator sees that a time of the runtime’s login was changed, and sets it again', async () => {
    const { names, admin, name } = database
    const query = async <R extends object>(text: string, values: readonly unknown[] = []) => (await admin.query<R>(text, [...values])).rows
    const seen = async () => (await readDatabase({ query }, names)).granted
    for (const where of ['', `IN DATABASE "${name}"`])
      for (const change of ['SET statement_timeout = 0', "SET search_path = 'public'", 'SET lock_timeout = 0']) {
        await admin.query(`ALTER ROLE "${names.login}" ${where} ${change}`)
        expect(await seen(), `${where} ${change}`).toBe(false)
        await admin.query(grantLogin(names))
        expect(await seen(), `${where} ${change}`).toBe(true)
      }
  })
})

test('the connections of the platform are counted, in whatever database of the Shard, and nobody else’s', async () => {
  const own = await createDatabase(inject('postgres'))
  const tenant = await own.tenant('acme', 'database')
  const reader = {
    query: async <R extends Row>(text: string, values: readonly Value[] = []) => (await own.admin.query<R>(text, [...values])).rows,
  }
  const used = async () => (await readDatabase(reader, own.names)).used
  // A connection that was ended is seen for a moment more.
  await vi.waitFor(async () => expect(await used()).toBe(1))
  const counted = [
    await logIn(own, own.names.rows, own.name),
    await logIn(own, tenant.route.role, tenant.route.database),
    await connectTo(inject('postgres'), own.name),
    await connectTo(inject('postgres'), tenant.route.database),
  ]
  const others = [await connectTo(inject('postgres'), database.name), await connectAsSuperuser(inject('postgres'), own.name)]
  expect(await used()).toBe(1 + counted.length)
  for (const client of [...counted, ...others]) await client.end()
  await own.drop()
})
