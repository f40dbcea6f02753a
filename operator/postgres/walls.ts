import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Isolation } from '../../crds/tenant.ts'
import { type Physical, ROWS_SCHEMA, type ShardNames, tenantName } from './names.ts'
import { BELONGINGS, insertInto, type Neighbours, neighboursOf } from './neighbours.ts'
import { block } from './statements.ts'

/**
 * One attempt to get at what is a neighbour's, as a statement of PL/pgSQL. `rows` must be refused or reach none; `command` must be refused.
 * `by`: whether the role alone decides, or row-level security by the tenant that the session names.
 */
type Attempt = { name: string; kind: 'rows' | 'command'; sql: string; by: 'role' | 'tenant' }

/** Attempts that are made together, and the neighbours that must find their own before. */
export type Trial = { attempts: readonly Attempt[]; entries: readonly Entry[] }

/** An attempt that reached something, or failed for another reason than a refusal; `of`: the tenant, or null where it is so for all. */
type Hit = { of: string | null; as: 'reached' | 'unclear'; what: string }

/**
 * What came of the attempts. There should be no hits; `lost` are neighbours that do not find what is their own: an attempt on what is not
 * there proves nothing.
 */
export type Tried = { attempts: number; hits: Hit[]; lost: string[] }

/**
 * A neighbour as it enters a table with something of its own, and what would put more there. `isShared`: its role is that of the shared
 * tables, so that making the neighbour anew would not let it in where the role does not.
 */
type Entry = { whose: string; table: string; insert: string; role: string; uid: string; isShared: boolean }

// Raised, it undoes what was reached: what comes next finds everything as it was. Of a class that neither SQL nor Postgres uses.
const REACHED = 'TN001'
const LOCK_NOT_AVAILABLE = '55P03'

/** Everything a tenant with that access should not be able to do; what its role alone decides comes first. */
export function trialOf(isolation: Isolation, names: ShardNames): Trial {
  const entries = entriesOf(isolation, names)
  const common = [...onHeads(neighboursOf(names)), ...onObjects(), ...entries.flatMap(onTable)]
  const attempts = isolation === 'row' ? [...common, ...onSharedRows()] : common
  return { attempts: attempts.toSorted((a, b) => Number(a.by === 'tenant') - Number(b.by === 'tenant')), entries }
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

/**
 * The attempts as one transaction under a role, for the tenants that have it, after the neighbours have looked for their own under theirs;
 * all of it is undone. What the role alone decides is tried once. The SELECT gives what came of them as JSON. An error that is no refusal is
 * told apart: a table that is not there would refuse nobody.
 */
export function tryAll({ role }: Physical, uids: readonly string[], { attempts, entries }: Trial): string {
  const firstOwn = attempts.filter(({ by }) => by === 'role').length + 1
  const of = `CASE WHEN step >= ${firstOwn} THEN asker END`
  // Statements that stand here, not in strings, are planned once for all tenants.
  const tries = block(
    `${entries.map(findOwn).join('\n')}
  FOREACH asker IN ARRAY askers LOOP
    PERFORM ${enter(text(role), 'asker')};
    FOR step IN CASE asker WHEN askers[1] THEN 1 ELSE ${firstOwn} END .. ${attempts.length} LOOP
      BEGIN
        CASE step ${attempts.map(({ sql }, index) => `WHEN ${index + 1} THEN ${sql};`).join('\n')} END CASE;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found > 0 OR kinds[step] = 'command' THEN RAISE SQLSTATE '${REACHED}'; END IF;
      EXCEPTION
        WHEN insufficient_privilege THEN NULL;
        -- Who is stopped by a key or a check has got past the wall.
        WHEN SQLSTATE '${REACHED}' OR integrity_constraint_violation THEN ${note(of, 'reached', 'titles[step]')}
        WHEN OTHERS THEN
          ${note(of, 'unclear', "titles[step] || ' ' || SQLSTATE")}
          -- A lock that somebody holds is waited for once, not by each attempt of each tenant.
          IF SQLSTATE = '${LOCK_NOT_AVAILABLE}' THEN PERFORM set_config('lock_timeout', '1ms', true); END IF;
      END;
    END LOOP;
  END LOOP;
  PERFORM set_config('app.tried', jsonb_build_object('attempts', ${attempts.length}, 'hits', hits, 'lost', lost)::text, true);`,
    `hits jsonb := '[]'; lost text[] := '{}'; found bigint; asker text; askers text[] := ${list(uids)};
  titles text[] := ${list(attempts.map((attempt) => attempt.name))}; kinds text[] := ${list(attempts.map(({ kind }) => kind))};`,
  )
  return `SELECT set_config('lock_timeout', '1s', true);
${tries}
SELECT current_setting('app.tried') AS tried;
ROLLBACK;`
}

/** Adds a hit; `of` and `what` are expressions in SQL. */
function note(of: string, as: Hit['as'], what: string): string {
  return `hits := hits || jsonb_build_object('of', ${of}, 'as', ${text(as)}, 'what', ${what});`
}

function list(values: readonly string[]): string {
  return `ARRAY[${values.map((value) => text(value)).join(', ')}]`
}

/** Both are expressions in SQL. */
function enter(role: string, uid: string): string {
  return `set_config('role', ${role}, true), set_config('app.tenant_id', ${uid}, true)`
}

function findOwn({ whose, table, role, uid, isShared }: Entry): string {
  return `BEGIN
    PERFORM ${enter(text(role), text(uid))};
    EXECUTE 'SELECT count(*) FROM ' || ${text(table)} INTO found;
    IF found = 0 THEN lost := array_append(lost, ${text(whose)}); END IF;
  EXCEPTION
    ${isShared ? `WHEN insufficient_privilege THEN ${note('NULL', 'unclear', `'the neighbour is not let in: ' || ${text(whose)}`)}` : ''}
    WHEN OTHERS THEN lost := array_append(lost, ${text(whose)});
  END;`
}

function onTable({ whose, table, insert, uid, isShared }: Entry): Attempt[] {
  const by = isShared ? 'tenant' : 'role'
  const own = `tenant_id = ${text(uid)}`
  return [
    { name: `read ${whose}`, kind: 'rows', by, sql: `PERFORM FROM ${table} WHERE ${own}` },
    { name: `write ${whose}`, kind: 'rows', by, sql: insert },
    { name: `change ${whose}`, kind: 'rows', by, sql: `UPDATE ${table} SET version = version WHERE ${own}` },
    { name: `delete ${whose}`, kind: 'rows', by, sql: `DELETE FROM ${table} WHERE ${own}` },
    {
      name: `lock ${whose}`,
      kind: 'rows',
      by,
      sql: `PERFORM FROM ${table} WHERE ${own} FOR UPDATE`,
    },
    { name: `truncate ${whose}`, kind: 'command', by: 'role', sql: `TRUNCATE ${table}` },
    { name: `alter ${whose}`, kind: 'command', by: 'role', sql: `ALTER TABLE ${table} NO FORCE ROW LEVEL SECURITY` },
    { name: `copy ${whose}`, kind: 'command', by: 'role', sql: `COPY ${table} TO PROGRAM 'cat > /dev/null'` },
    {
      name: `trigger ${whose}`,
      kind: 'rows',
      by: 'role',
      sql: `PERFORM WHERE has_table_privilege(${text(table)}, 'REFERENCES, TRIGGER')`,
    },
  ]
}

/** What only row-level security keeps apart. The last two go together: nothing may follow the one that names nobody. */
function onSharedRows(): Attempt[] {
  const onEach = Object.keys(BELONGINGS).flatMap((table): Attempt[] => [
    {
      name: `list rows of others in ${table}`,
      kind: 'rows',
      by: 'tenant',
      sql: `PERFORM FROM ${ROWS_SCHEMA}.${table} WHERE tenant_id <> (SELECT current_setting('app.tenant_id')::uuid)`,
    },
    { name: `lift the policy of ${table}`, kind: 'command', by: 'role', sql: `DROP POLICY tenant ON ${ROWS_SCHEMA}.${table}` },
  ])
  return [
    ...onEach,
    { name: 'name nobody', kind: 'rows', by: 'tenant', sql: "PERFORM WHERE set_config('app.tenant_id', '', true) <> ''" },
    { name: 'list rows as nobody', kind: 'rows', by: 'tenant', sql: `PERFORM FROM ${ROWS_SCHEMA}.tasks` },
  ]
}

function onHeads(neighbours: Neighbours): Attempt[] {
  const theirs = `tenant IN (${text(neighbours.schema)}, ${text(neighbours.row)})`
  return [
    { name: 'list heads', kind: 'rows', by: 'tenant', sql: `PERFORM FROM tenantry.head WHERE ${theirs}` },
    { name: 'list marks', kind: 'rows', by: 'tenant', sql: `PERFORM FROM tenantry.relayed WHERE ${theirs}` },
    {
      name: 'move heads',
      kind: 'rows',
      by: 'tenant',
      sql: `UPDATE tenantry.head SET position = position WHERE ${theirs}`,
    },
    { name: 'list tenants', kind: 'rows', by: 'role', sql: 'PERFORM FROM tenantry.tenants' },
    { name: 'list migrations', kind: 'rows', by: 'role', sql: 'PERFORM FROM tenantry.migrations' },
  ]
}

function onObjects(): Attempt[] {
  return [
    { name: 'make a schema', kind: 'command', by: 'role', sql: 'CREATE SCHEMA tenantry_probe' },
    { name: 'make a table in tenantry', kind: 'command', by: 'role', sql: 'CREATE TABLE tenantry.probe ()' },
    { name: 'make a temporary table', kind: 'command', by: 'role', sql: 'CREATE TEMPORARY TABLE tenantry_probe ()' },
    { name: 'make a role', kind: 'command', by: 'role', sql: 'CREATE ROLE tenantry_probe' },
    { name: 'read files of the server', kind: 'rows', by: 'role', sql: "PERFORM pg_ls_dir('.')" },
    { name: 'read passwords', kind: 'rows', by: 'role', sql: 'PERFORM FROM pg_authid' },
  ]
}
