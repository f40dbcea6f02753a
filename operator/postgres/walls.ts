import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Isolation } from '../../crds/tenant.ts'
import { type Physical, ROWS_SCHEMA, type ShardNames, tenantName } from './names.ts'
import { BELONGINGS, insertInto, type Neighbours, neighboursOf } from './neighbours.ts'
import { block } from './statements.ts'

/**
 * One attempt to get at what is a neighbour's. `rows` must be refused or reach none; `command` must be refused. `by`: whether the role alone
 * decides, or row-level security by the tenant that the session names.
 */
type Attempt = { name: string; kind: 'rows' | 'command'; sql: string; by: 'role' | 'tenant' }

/** Attempts that are made together, and the neighbours that must find their own before. */
export type Trial = { attempts: readonly Attempt[]; entries: readonly Entry[] }

/** What has to be tried for a tenant: `own` for each, and `shared`, where tenants have one role, for any one of them. */
export type Trials = { own: Trial; shared: Trial | undefined }

/**
 * What came of the attempts. `reached` should be empty; `unclear` failed for another reason than a refusal, and `lost` are neighbours that
 * do not find what is their own: an attempt on what is not there proves nothing.
 */
export type Tried = { attempts: number; reached: string[]; unclear: string[]; lost: string[] }

/**
 * A neighbour as it enters a table with something of its own, and what would put more there. `isShared`: its role is that of the shared
 * tables, so that making the neighbour anew would not let it in where the role does not.
 */
type Entry = { whose: string; table: string; insert: string; role: string; uid: string; isShared: boolean }

/** Everything a tenant with that access should not be able to do. */
export function trialsOf(isolation: Isolation, uid: string, names: ShardNames): Trials {
  const entries = entriesOf(isolation, names)
  const attempts = attemptsOf(isolation, uid, names, entries)
  if (isolation !== 'row') return { own: { attempts, entries }, shared: undefined }
  const decided = (by: Attempt['by']) => attempts.filter((attempt) => attempt.by === by)
  const among = (isShared: boolean) => entries.filter((entry) => entry.isShared === isShared)
  return { own: { attempts: decided('tenant'), entries: among(true) }, shared: { attempts: decided('role'), entries: among(false) } }
}

function entriesOf(isolation: Isolation, names: ShardNames): Entry[] {
  if (isolation === 'database') return []
  const { schema, row } = neighboursOf(names)
  const own = tenantName(schema)
  return Object.keys(BELONGINGS).flatMap((table) => [
    entryOf('schema', name(own), table, own, schema),
    entryOf('row', ROWS_SCHEMA, table, names.rows, row),
  ])
}

function entryOf(isolation: Isolation, schema: string, table: string, role: string, uid: string): Entry {
  return {
    whose: `${isolation} ${table}`,
    table: `${schema}.${table}`,
    insert: insertInto(schema, table, uid, 'gen_random_uuid()'),
    role,
    uid,
    isShared: isolation === 'row',
  }
}

function attemptsOf(isolation: Isolation, uid: string, names: ShardNames, entries: readonly Entry[]): Attempt[] {
  const common = [...onHeads(neighboursOf(names)), ...onObjects(), ...entries.flatMap(onTable)]
  return isolation === 'row' ? [...common, ...onSharedRows(uid)] : common
}

/**
 * The attempts as one transaction under the tenant's role, after the neighbours have looked for their own under theirs; all of it is undone.
 * The SELECT gives what came of them as JSON. An error that is no refusal is told apart: a table that is not there would refuse nobody.
 */
export function tryAll({ role }: Physical, uid: string, { attempts, entries }: Trial): string {
  const list = attempts.map(({ name: title, kind, sql }) => `(${text(title)}, ${text(kind)}, ${text(sql)})`)
  const tries = block(
    `${entries.map(findOwn).join('\n')}
  PERFORM ${enter(role, uid)};
  FOR attempt IN SELECT * FROM (VALUES ${list.join(', ')}) AS v (title, kind, statement) LOOP
    BEGIN
      EXECUTE attempt.statement;
      GET DIAGNOSTICS found = ROW_COUNT;
      IF found > 0 OR attempt.kind = 'command' THEN reached := reached || attempt.title; END IF;
    EXCEPTION
      WHEN insufficient_privilege THEN NULL;
      -- Who is stopped by a key or a check has got past the wall.
      WHEN integrity_constraint_violation THEN reached := reached || attempt.title;
      WHEN OTHERS THEN unclear := unclear || (attempt.title || ' ' || SQLSTATE);
    END;
  END LOOP;
  PERFORM set_config('app.tried', json_build_object('attempts', ${attempts.length}, 'reached', reached, 'unclear', unclear, 'lost', lost)::text, true);`,
    "reached text[] := '{}'; unclear text[] := '{}'; lost text[] := '{}'; attempt record; found bigint;",
  )
  return `SELECT set_config('lock_timeout', '1s', true);
${tries}
SELECT current_setting('app.tried') AS tried;
ROLLBACK;`
}

/** What came of two trials, as of one. */
export function joinTried(a: Tried, b: Tried): Tried {
  return {
    attempts: a.attempts + b.attempts,
    reached: [...a.reached, ...b.reached],
    unclear: [...a.unclear, ...b.unclear],
    lost: [...a.lost, ...b.lost],
  }
}

function enter(role: string, uid: string): string {
  return `set_config('role', ${text(role)}, true), set_config('app.tenant_id', ${text(uid)}, true)`
}

function findOwn({ whose, table, role, uid, isShared }: Entry): string {
  return `BEGIN
    PERFORM ${enter(role, uid)};
    EXECUTE 'SELECT count(*) FROM ' || ${text(table)} INTO found;
    IF found = 0 THEN lost := array_append(lost, ${text(whose)}); END IF;
  EXCEPTION
    ${isShared ? `WHEN insufficient_privilege THEN unclear := array_append(unclear, 'the neighbour is not let in: ' || ${text(whose)});` : ''}
    WHEN OTHERS THEN lost := array_append(lost, ${text(whose)});
  END;`
}

function onTable({ whose, table, insert, uid, isShared }: Entry): Attempt[] {
  const by = isShared ? 'tenant' : 'role'
  const own = `tenant_id = ${text(uid)}`
  return [
    { name: `read ${whose}`, kind: 'rows', by, sql: `SELECT FROM ${table} WHERE ${own}` },
    { name: `write ${whose}`, kind: 'rows', by, sql: insert },
    { name: `change ${whose}`, kind: 'rows', by, sql: `UPDATE ${table} SET version = version WHERE ${own}` },
    { name: `delete ${whose}`, kind: 'rows', by, sql: `DELETE FROM ${table} WHERE ${own}` },
    {
      name: `lock ${whose}`,
      kind: 'rows',
      by,
      sql: `SELECT FROM ${table} WHERE ${own} FOR UPDATE`,
    },
    { name: `truncate ${whose}`, kind: 'command', by: 'role', sql: `TRUNCATE ${table}` },
    { name: `alter ${whose}`, kind: 'command', by: 'role', sql: `ALTER TABLE ${table} NO FORCE ROW LEVEL SECURITY` },
    { name: `copy ${whose}`, kind: 'command', by: 'role', sql: `COPY ${table} TO PROGRAM 'true'` },
    {
      name: `trigger ${whose}`,
      kind: 'rows',
      by: 'role',
      sql: `SELECT WHERE has_table_privilege(${text(table)}, 'REFERENCES, TRIGGER')`,
    },
  ]
}

/** What only row-level security keeps apart. The last two go together: nothing may follow the one that names nobody. */
function onSharedRows(uid: string): Attempt[] {
  const onEach = Object.keys(BELONGINGS).flatMap((table): Attempt[] => [
    {
      name: `list rows of others in ${table}`,
      kind: 'rows',
      by: 'tenant',
      sql: `SELECT FROM ${ROWS_SCHEMA}.${table} WHERE tenant_id <> ${text(uid)}`,
    },
    { name: `lift the policy of ${table}`, kind: 'command', by: 'role', sql: `DROP POLICY tenant ON ${ROWS_SCHEMA}.${table}` },
  ])
  return [
    ...onEach,
    { name: 'name nobody', kind: 'rows', by: 'tenant', sql: "SELECT WHERE set_config('app.tenant_id', '', true) <> ''" },
    { name: 'list rows as nobody', kind: 'rows', by: 'tenant', sql: `SELECT FROM ${ROWS_SCHEMA}.tasks` },
  ]
}

function onHeads(neighbours: Neighbours): Attempt[] {
  const theirs = `tenant IN (${text(neighbours.schema)}, ${text(neighbours.row)})`
  return [
    { name: 'list heads', kind: 'rows', by: 'tenant', sql: `SELECT FROM tenantry.head WHERE ${theirs}` },
    { name: 'list marks', kind: 'rows', by: 'tenant', sql: `SELECT FROM tenantry.relayed WHERE ${theirs}` },
    {
      name: 'move heads',
      kind: 'rows',
      by: 'tenant',
      sql: `UPDATE tenantry.head SET position = position WHERE ${theirs}`,
    },
    { name: 'list tenants', kind: 'rows', by: 'role', sql: 'SELECT FROM tenantry.tenants' },
    { name: 'list migrations', kind: 'rows', by: 'role', sql: 'SELECT FROM tenantry.migrations' },
  ]
}

function onObjects(): Attempt[] {
  return [
    { name: 'make a schema', kind: 'command', by: 'role', sql: 'CREATE SCHEMA tenantry_probe' },
    { name: 'make a table in tenantry', kind: 'command', by: 'role', sql: 'CREATE TABLE tenantry.probe ()' },
    { name: 'make a temporary table', kind: 'command', by: 'role', sql: 'CREATE TEMPORARY TABLE tenantry_probe ()' },
    { name: 'make a role', kind: 'command', by: 'role', sql: 'CREATE ROLE tenantry_probe' },
    { name: 'read files of the server', kind: 'rows', by: 'role', sql: "SELECT pg_ls_dir('.')" },
    { name: 'read passwords', kind: 'rows', by: 'role', sql: 'SELECT FROM pg_authid' },
  ]
}
