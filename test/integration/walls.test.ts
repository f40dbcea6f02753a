import { randomBytes } from 'node:crypto'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { ACTIONS, type Keeper, nameOf, ownName } from '../builders/actions.ts'
import { attempt, type Line, lineOn, logIn } from '../builders/attacker.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { busOn, command, sessionOn } from '../builders/runtime.ts'

let database: TestDatabase
const keepers: Keeper[] = []
/** One for each database: tenants of the Shard's own share one connection, as they do in the runtime. */
const lines = new Map<string, Line>()
const superusers = new Map<string, Client>()
const busy: Client[] = []

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  for (const isolation of ISOLATIONS) for (const name of ['a', 'b']) keepers.push(await lay(await database.tenant(name, isolation)))
})

afterAll(async () => {
  for (const client of [...busy, ...superusers.values(), ...[...lines.values()].map((line) => line.client)]) await client.end()
  await database.drop()
})

/** Gives a tenant its secret, in every place where the product or Postgres itself could keep it. */
async function lay(tenant: Keeper['tenant']): Promise<Keeper> {
  const secret = `secret_${randomBytes(6).toString('hex')}`
  const session = sessionOn(database)
  const titles = Array.from({ length: 20 }, () => ({ title: secret }))
  const made = await Promise.all(titles.map((input) => command(busOn(session), tenant, 'CreateTask', input)))
  await command(busOn(session), tenant, 'RegisterUser', { email: `${secret}@example.com`, displayName: secret })
  await session.close()
  const { database: place, role, isolation } = tenant.route
  const superuser = superusers.get(place) ?? (await connectAsSuperuser(inject('postgres'), place))
  superusers.set(place, superuser)
  const keeper: Keeper = { tenant, secret, task: made[0]?.id ?? '', largeObject: 0 }
  // What stands in the shared schema and is not meant for tenants is made by the admin login, as migrations are.
  const admin = await database.adminOf(tenant)
  await admin.query(`CREATE SEQUENCE ${nameOf(keeper, ownName(keeper, 'numbers'))}`)
  await admin.query(
    `CREATE FUNCTION ${nameOf(keeper, ownName(keeper, 'reveal'))}() RETURNS text LANGUAGE sql AS 'SELECT ''${secret}''::text'`,
  )
  const { rows } = await admin.query(`SELECT lo_from_bytea(0, convert_to($1, 'UTF8'))::int AS oid`, [secret])
  keeper.largeObject = rows[0]?.oid
  if (isolation !== 'row')
    await admin.query(`GRANT USAGE ON SEQUENCE ${nameOf(keeper, ownName(keeper, 'numbers'))} TO ${role};
    GRANT EXECUTE ON FUNCTION ${nameOf(keeper, ownName(keeper, 'reveal'))}() TO ${role}; GRANT SELECT ON LARGE OBJECT ${keeper.largeObject} TO ${role}`)
  await superuser.query('ANALYZE')
  const line = lines.get(place) ?? lineOn(await logIn(database, role, place))
  lines.set(place, line)
  const idle = await logIn(database, role, place)
  await idle.query(`SELECT '${secret}'`)
  busy.push(idle)
  const prepared = await attempt(line, tenant, [
    `INSERT INTO ${nameOf(keeper, 'checkpoints')} VALUES ('${tenant.uid}', 'task-statistics', 1)`,
    `PREPARE ${ownName(keeper, 'titles')} AS SELECT title FROM ${nameOf(keeper, 'tasks')}`,
    `EXECUTE ${ownName(keeper, 'titles')}`,
  ])
  expect(prepared.text).toContain(secret)
  return keeper
}

/** All that stands for a tenant, and how it is guarded. */
async function stateOf(client: Client, { tenant: { uid, route } }: Keeper): Promise<unknown> {
  const rows = ['tasks', 'users', 'events', 'checkpoints'].map(
    (table) => `(SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM "${route.schema}".${table} t WHERE tenant_id = '${uid}')`,
  )
  const heads = ['head', 'relayed'].map((table) => `(SELECT t::text FROM tenantry.${table} t WHERE tenant = '${uid}')`)
  const guards = `(SELECT string_agg(concat(c.relname, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.relnatts, c.reltriggers), ',' ORDER BY c.relname)
    FROM (SELECT *, (SELECT count(*) FROM pg_trigger WHERE tgrelid = pg_class.oid) + (SELECT count(*) FROM pg_policy WHERE polrelid = pg_class.oid) AS reltriggers
          FROM pg_class WHERE relkind IN ('r', 'S') AND relnamespace = '"${route.schema}"'::regnamespace) c)`
  const { rows: found } = await client.query(`SELECT ${[...rows, ...heads, guards].map((text, index) => `${text} AS c${index}`).join()}`)
  return found
}

const place = (map: Map<string, Client>, { tenant }: Keeper): Client => {
  const client = map.get(tenant.route.database)
  if (client === undefined) throw new Error('no connection there')
  return client
}

/** Over the tenant's own access path, in every way that ACTIONS lists, and by what needs a connection of its own. */
async function attack(mine: Keeper, theirs: Keeper): Promise<Map<string, string>> {
  const line = lines.get(mine.tenant.route.database)
  if (line === undefined) throw new Error('no connection')
  const told = new Map<string, string>()
  for (const [name, action] of Object.entries(ACTIONS)) told.set(name, (await attempt(line, mine.tenant, action(theirs, mine))).text)
  told.set('prepared statement', (await attempt(line, mine.tenant, [`EXECUTE ${ownName(theirs, 'titles')}`])).text)
  told.set('SET ROLE', await setRole(mine, theirs))
  told.set('connect', await connect(mine, theirs))
  return told
}

// As the tenant's role itself. What the login that tenants share may do besides is PG-09's.
async function setRole(mine: Keeper, theirs: Keeper): Promise<string> {
  const client = await connectAsSuperuser(inject('postgres'), mine.tenant.route.database)
  await client.query(`SET SESSION AUTHORIZATION "${mine.tenant.route.role}"`)
  const statements = [`SET LOCAL ROLE "${theirs.tenant.route.role}"`, `SELECT title FROM ${nameOf(theirs, 'tasks')}`]
  const { text } = await attempt(lineOn(client), mine.tenant, statements)
  await client.end()
  return text
}

async function connect(mine: Keeper, theirs: Keeper): Promise<string> {
  try {
    const client = await logIn(database, mine.tenant.route.role, theirs.tenant.route.database)
    if (mine.tenant.route.database !== theirs.tenant.route.database) return `connected: ${theirs.secret}`
    const { rows } = await client.query(`SELECT title FROM ${nameOf(theirs, 'tasks')}`).finally(() => client.end())
    return JSON.stringify(rows)
  } catch (error) {
    return String(error)
  }
}

test('PG-01: no tenant reaches its neighbour, whatever it does over its own access path', async () => {
  const pairs = keepers.flatMap((mine) => keepers.filter((theirs) => theirs !== mine).map((theirs) => [mine, theirs] as const))
  const leaks: string[] = []
  let actions = 0
  for (const [mine, theirs] of pairs) {
    const way = `${mine.tenant.route.isolation} to ${theirs.tenant.route.isolation}`
    const before = await stateOf(place(superusers, theirs), theirs)
    const told = await attack(mine, theirs)
    for (const [name, text] of told) if (text.includes(theirs.secret)) leaks.push(`${way}: ${name} tells ${text}`)
    const after = await stateOf(place(superusers, theirs), theirs)
    if (JSON.stringify(after) !== JSON.stringify(before)) leaks.push(`${way}: something was changed`)
    actions = told.size
  }
  printFigure(`PG-01: ${pairs.length} pairs x ${actions} actions, leaks ${leaks.length}`)
  expect(leaks).toEqual([])
  for (const keeper of keepers) {
    const line = lines.get(keeper.tenant.route.database)
    expect(line && (await attempt(line, keeper.tenant, [`SELECT title FROM ${nameOf(keeper, 'tasks')}`])).text).toContain(keeper.secret)
  }
})

test.each(ISOLATIONS)('PG-01: had there been a leak to isolation %s, each action would have shown it', async (isolation) => {
  const [theirs, mine] = keepers.filter(({ tenant }) => tenant.route.isolation === isolation)
  if (theirs === undefined || mine === undefined) throw new Error('no such tenants')
  const client = place(superusers, theirs)
  const line = lineOn(client)
  const before = JSON.stringify(await stateOf(client, theirs))
  const blind: string[] = []
  for (const [name, action] of Object.entries(ACTIONS)) {
    line.heard.length = 0
    await client.query('BEGIN')
    // To a superuser there is no wall; where mine would stand in another database, theirs is taken.
    for (const statement of action(theirs, isolation === 'database' ? theirs : mine))
      line.heard.push(JSON.stringify((await client.query(statement)).rows))
    const changed = JSON.stringify(await stateOf(client, theirs)) !== before
    await client.query('ROLLBACK')
    if (!changed && !line.heard.join().includes(theirs.secret)) blind.push(name)
  }
  expect(blind).toEqual([])
})
