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

const TITLE = 'This belongs to a neighbour.'

/** The same for the same database, others for others: roles are shared by all databases of a server. */
export function neighboursOf({ database }: ShardNames): Neighbours {
  return { schema: uidFrom(`${database} schema`), row: uidFrom(`${database} row`) }
}

/**
 * Makes the neighbours anew, by the statements that make every tenant, with one task each: whoever is let into a tenant finds them, and
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
    `DELETE FROM ${ROWS_SCHEMA}.tasks WHERE tenant_id = ${text(row)};`,
    taskIn(name(physical), schema),
    taskIn(ROWS_SCHEMA, row),
    `SELECT set_config('app.tenant_id', '', true);`,
  ].join('\n')
}

function taskIn(schema: string, uid: string): string {
  return `INSERT INTO ${schema}.tasks (tenant_id, id, title, priority, status, tags, version, position, created_at, updated_at)
VALUES (${text(uid)}, ${text(uid)}, ${text(TITLE)}, 'low', 'pending', '{}', 1, 0, now(), now());`
}

// A UUID of version 8 (RFC 9562): its bits are the maker's own business.
function uidFrom(seed: string): string {
  const hex = createHash('sha256').update(`tenantry neighbour ${seed}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
