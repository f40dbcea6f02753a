import { escapeIdentifier, escapeLiteral } from 'pg'
import type { TenantContext } from '../../runtime/tenancy/context.ts'

/** A tenant with something to hide: `secret` stands in its tasks, users, events, statistics, a function, a large object, a running query. */
export type Keeper = { tenant: TenantContext; secret: string; task: string; largeObject: number }

/** What a tenant does to get at its neighbour; whoever succeeds is told the neighbour's secret, or has changed something of it. */
export type Action = (theirs: Keeper, mine: Keeper) => string[]

/** The name of something of a tenant, with its database: outside of that, Postgres refuses it. */
export function nameOf({ tenant: { route } }: Keeper, what: string): string {
  return [route.database, route.schema, what].map(escapeIdentifier).join('.')
}

/** What a tenant's sequence and function are called: those of row tenants stand in one schema. */
export function ownName({ tenant }: Keeper, what: string): string {
  return `${what}_${tenant.uid.slice(0, 8)}`
}

const uidOf = ({ tenant }: Keeper) => escapeLiteral(tenant.uid)
const secretOf = ({ secret }: Keeper) => escapeLiteral(secret)
const NEW_TASK = "'taken', NULL, 'low', 'pending', '{}', NULL, NULL, 1, 1, now(), now(), NULL"
const shares = (a: Keeper, b: Keeper) => a.tenant.route.isolation === 'row' && b.tenant.route.isolation === 'row'

const own =
  (table: string, column: string): Action =>
  (theirs) => [`SELECT t, ${secretOf(theirs)} FROM ${nameOf(theirs, table)} t WHERE ${column} = ${uidOf(theirs)}`]

const shard =
  (table: string, column: string): Action =>
  (theirs) => [`SELECT t, ${secretOf(theirs)} FROM tenantry.${table} t WHERE ${column} = ${uidOf(theirs)}`]

const onTasks =
  (text: (table: string, theirs: Keeper, mine: Keeper) => string[]): Action =>
  (theirs, mine) =>
    text(nameOf(theirs, 'tasks'), theirs, mine)

/** Everything that is tried over the tenant's own access path. */
export const ACTIONS: Readonly<Record<string, Action>> = {
  'SELECT tasks': own('tasks', 'tenant_id'),
  'SELECT events': own('events', 'tenant_id'),
  'SELECT users': own('users', 'tenant_id'),
  'SELECT checkpoints': own('checkpoints', 'tenant_id'),
  'SELECT all': onTasks((tasks) => [`SELECT * FROM ${tasks}`]),
  'SELECT without policies': onTasks((tasks) => ['SET LOCAL row_security = off', `SELECT * FROM ${tasks}`]),
  'SELECT by schema': ({ tenant, task }) => [
    `SELECT * FROM ${escapeIdentifier(tenant.route.schema)}.tasks WHERE id = ${escapeLiteral(task)}`,
  ],
  cursor: onTasks((tasks) => [`DECLARE spy CURSOR FOR SELECT * FROM ${tasks}`, 'FETCH ALL FROM spy']),
  'DO block': onTasks((tasks) => [
    `DO $$ DECLARE found record; BEGIN FOR found IN SELECT title FROM ${tasks} LOOP RAISE NOTICE '%', found; END LOOP; END $$`,
  ]),
  INSERT: onTasks((tasks, theirs) => [`INSERT INTO ${tasks} SELECT ${uidOf(theirs)}, gen_random_uuid(), ${NEW_TASK}`]),
  'INSERT over': onTasks((tasks, theirs) => [
    `INSERT INTO ${tasks} AS t SELECT ${uidOf(theirs)}, ${escapeLiteral(theirs.task)}, ${NEW_TASK}
     ON CONFLICT (tenant_id, id) DO UPDATE SET assignee = 'taken' RETURNING t.*`,
  ]),
  UPDATE: onTasks((tasks, theirs) => [`UPDATE ${tasks} SET assignee = 'taken' WHERE tenant_id = ${uidOf(theirs)} RETURNING *`]),
  'UPDATE into': onTasks((tasks, theirs) => [`UPDATE ${tasks} SET tenant_id = ${uidOf(theirs)}, id = gen_random_uuid()`]),
  DELETE: onTasks((tasks, theirs) => [`DELETE FROM ${tasks} WHERE tenant_id = ${uidOf(theirs)} RETURNING *`]),
  TRUNCATE: onTasks((tasks) => [`TRUNCATE ${tasks}`]),
  REFERENCES: onTasks((tasks, theirs, mine) => [
    `CREATE TABLE ${nameOf(mine, 'spy')} (t uuid, i uuid, FOREIGN KEY (t, i) REFERENCES ${tasks})`,
    `SELECT ${secretOf(theirs)}`,
  ]),
  'COPY table': onTasks((tasks) => [`COPY ${tasks} TO STDOUT`]),
  'COPY query': onTasks((tasks) => [`COPY (SELECT * FROM ${tasks}) TO STDOUT`]),
  sequence: (theirs) => [`SELECT nextval(${escapeLiteral(nameOf(theirs, ownName(theirs, 'numbers')))}), ${secretOf(theirs)}`],
  function: (theirs) => [`SELECT ${nameOf(theirs, ownName(theirs, 'reveal'))}()`],
  LOCK: onTasks((tasks, theirs, mine) =>
    // Tenants of the shared tables hold the same privileges on them: there the wall is around the rows.
    shares(mine, theirs)
      ? [`SELECT title FROM ${tasks} WHERE tenant_id = ${uidOf(theirs)} FOR UPDATE`]
      : [`LOCK TABLE ${tasks} IN ACCESS SHARE MODE`, `SELECT ${secretOf(theirs)}`],
  ),
  'LOCK the head': (theirs) => [`SELECT ${secretOf(theirs)} FROM tenantry.head WHERE tenant = ${uidOf(theirs)} FOR UPDATE`],
  'large object': ({ largeObject }) => [`SELECT convert_from(lo_get(${largeObject}), 'UTF8')`],
  'large objects': () => ["SELECT convert_from(data, 'UTF8') FROM pg_catalog.pg_largeobject"],
  'ALTER TABLE': onTasks((tasks) => [`ALTER TABLE ${tasks} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY, ADD COLUMN spy text`]),
  'CREATE POLICY': onTasks((tasks) => [`CREATE POLICY spy ON ${tasks} USING (true)`]),
  'CREATE TRIGGER': onTasks((tasks) => [
    `CREATE TRIGGER spy BEFORE UPDATE ON ${tasks} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`,
  ]),
  'CREATE in': (theirs) => [`CREATE TABLE ${nameOf(theirs, 'spy')} ()`],
  GRANT: onTasks((tasks) => [`GRANT ALL ON ${tasks} TO PUBLIC`]),
  'SELECT head': shard('head', 'tenant'),
  'UPDATE head': (theirs) => [`UPDATE tenantry.head SET position = position + 1 WHERE tenant = ${uidOf(theirs)}`],
  'UPDATE any head': () => ['UPDATE tenantry.head SET position = position + 1'],
  'DELETE head': (theirs) => [`DELETE FROM tenantry.head WHERE tenant = ${uidOf(theirs)}`],
  'SELECT relayed': shard('relayed', 'tenant'),
  'UPDATE relayed': (theirs) => [`UPDATE tenantry.relayed SET position = position + 1 WHERE tenant = ${uidOf(theirs)}`],
  'SELECT tenants': shard('tenants', 'uid'),
  'SELECT migrations': (theirs) => [`SELECT ${secretOf(theirs)} FROM tenantry.database_migrations`],
  'planner statistics': () => ['SELECT most_common_vals, histogram_bounds FROM pg_catalog.pg_stats'],
  'running queries': () => ['SELECT query FROM pg_catalog.pg_stat_activity'],
}
