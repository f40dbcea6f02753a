import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Isolation } from '../../crds/tenant.ts'
import type { Physical } from './names.ts'

/** How many of a row tenant's newest rows of a table its average row is taken from. */
const MEASURED_ROWS = 200

/**
 * What counts a tenant's tasks, its users, its data and its storage in bytes, as `tasks`, `users`, `data` and `bytes`, at a cost that does not
 * grow with what it has. Runs in the database of its tables; no statement of it takes more than two seconds. All but the storage stands
 * counted in the head.
 */
export function countUsage(isolation: Isolation, uid: string, { schema }: Pick<Physical, 'schema'>): string {
  // What has no number yet was made before anybody kept it.
  const counted = (what: string) =>
    `coalesce((h.counts ->> '${what}')::bigint, (SELECT count(*) FROM ${name(schema)}.${what} c WHERE c.tenant_id = ${text(uid)})) AS ${what}`
  const taken = (what: string) => `coalesce((h.counts ->> '${what}Bytes')::bigint, 0)`
  // The policy of shared tables holds their owner too: it is shown the tenant that the transaction names.
  return `SELECT set_config('statement_timeout', '2s', true), set_config('lock_timeout', '1s', true), set_config('app.tenant_id', ${text(uid)}, true);
SELECT u.tasks::float8 AS tasks, u.users::float8 AS users, u.data::float8 AS data, round(${BYTES[isolation](uid, schema)})::float8 AS bytes
FROM (SELECT h.position, ${counted('tasks')}, ${counted('users')}, ${taken('tasks')} + ${taken('users')} AS data FROM tenantry.head h WHERE h.tenant = ${text(uid)}) u;`
}

// Files have a size that is looked up. Rows among those of others have none: the average of a few is taken for all, which the head has
// counted already. Its position is the number of events; the first ones may have been removed.
const BYTES: Record<Isolation, (uid: string, schema: string) => string> = {
  row: (uid, schema) => `u.tasks * ${averageRow(schema, 'tasks', uid, 'id')} + u.users * ${averageRow(schema, 'users', uid, 'id')}
  + ${averageRow(schema, 'events', uid, 'position')} * (u.position - coalesce((SELECT min(e.position) - 1 FROM ${name(schema)}.events e WHERE e.tenant_id = ${text(uid)}), u.position))`,
  schema: (_, schema) => `(SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0) FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ${text(schema)} AND c.relkind IN ('r', 'm'))`,
  database: () => 'pg_catalog.pg_database_size(pg_catalog.current_database())',
}

function averageRow(schema: string, table: string, uid: string, key: string): string {
  return `coalesce((SELECT avg(pg_catalog.pg_column_size(x.*)) FROM (
  SELECT * FROM ${name(schema)}.${table} t WHERE t.tenant_id = ${text(uid)} ORDER BY t.tenant_id DESC, t.${key} DESC LIMIT ${MEASURED_ROWS}) x), 0)`
}
