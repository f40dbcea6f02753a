import { createHash } from 'node:crypto'
import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Migration } from './migrations.ts'
import { ROWS_SCHEMA, type ShardNames, tenantName } from './names.ts'
import { createRowTenant } from './rows.ts'
import { createTenant, dropTenant } from './statements.ts'

/** The UIDs of a Shard's two synthetic tenants: one with a schema, one among the shared tables. Nobody has a key to them. */
export type Neighbours = { schema: string; row: string }

/** No installation has this one (the nil UUID, RFC 9562): the neighbours are nobody's tenants. */
const NOBODYS = '00000000-0000-0000-0000-000000000000'

const TITLE = text('This belongs to a neighbour.')
const ROW = { version: '1', position: '0', created_at: 'now()', updated_at: 'now()' }

/**
 * What a neighbour has: a row of each table, with its columns in SQL besides `tenant_id` and `id`. A table that stands here is tried at; the
 * rights and the policies of all others are read from the catalog.
 */
export const BELONGINGS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  tasks: { title: TITLE, priority: "'low'", status: "'pending'", tags: "'{}'", ...ROW },
  users: { email: "'neighbour@example.com'", display_name: TITLE, ...ROW },
}

/** The same for the same database, others for others: roles are shared by all databases of a server. */
export function neighboursOf({ database }: ShardNames): Neighbours {
  return { schema: uidFrom(`${database} schema`), row: uidFrom(`${database} row`) }
}

/**
 * Makes the neighbours anew, by the statements that make every tenant, with their belongings: whoever is let into a tenant finds them, and
 * whoever is kept out of them is kept out of tenants.
 */
export function makeNeighbours(names: ShardNames, migrations: readonly Migration[]): string {
  const { schema, row } = neighboursOf(names)
  const physical = tenantName(schema)
  return [
    dropTenant(schema, physical, physical),
    createTenant(names, { uid: schema, installation: NOBODYS, namespace: '', name: 'neighbour-schema', epoch: 1 }, migrations),
    `DELETE FROM tenantry.tenants WHERE uid = ${text(row)};`,
    createRowTenant(names, { uid: row, installation: NOBODYS, namespace: '', name: 'neighbour-row', epoch: 1 }),
    `SELECT set_config('app.tenant_id', ${text(row)}, true);`,
    ...Object.keys(BELONGINGS).flatMap((table) => [
      `DELETE FROM ${ROWS_SCHEMA}.${table} WHERE tenant_id = ${text(row)};`,
      `${insertInto(name(physical), table, schema, text(schema))};`,
      `${insertInto(ROWS_SCHEMA, table, row, text(row))};`,
    ]),
    `SELECT set_config('app.tenant_id', '', true);`,
  ].join('\n')
}

/** Puts what a neighbour has in a table there, as the tenant `uid`, under an id that is given in SQL. `schema` is escaped. */
export function insertInto(schema: string, table: string, uid: string, id: string): string {
  const columns = BELONGINGS[table] ?? {}
  return `INSERT INTO ${schema}.${table} (tenant_id, id, ${Object.keys(columns)}) VALUES (${text(uid)}, ${id}, ${Object.values(columns)})`
}

// A UUID of version 8 (RFC 9562): its bits are the maker's own business.
function uidFrom(seed: string): string {
  const hex = createHash('sha256').update(`tenantry neighbour ${seed}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
