import type { Change, Most } from '../../commands/command.ts'
import { append, changeValues, number, saved } from '../../events/store.ts'
import type { Statement } from '../../shards/statement.ts'
import { time } from '../columns.ts'
import { rowById } from '../row.ts'
import type { User } from './user.ts'

/** What callers see of a user; `render` gives the same fields in the same order. */
export const USER_COLUMNS = `id, email, display_name AS "displayName", version, ${time('created_at')} AS "createdAt", ${time('updated_at')} AS "updatedAt"`

/** One user: `body` is its JSON, with `version` and the `position` of its last event. */
export function userById(tenantUid: string, id: string): Statement {
  return rowById('user', 'users', USER_COLUMNS, tenantUid, id)
}

/** The JSON of a user, byte for byte what `userById` gives. */
export function renderUser({ id, email, displayName, createdAt, updatedAt }: User, version: number): string {
  return JSON.stringify({ id, email, displayName, version, createdAt, updatedAt })
}

// Looked up under the head's lock, and among those of the same commit too: of two who want the same address one is told so, and the index
// never has to refuse a whole commit, nor to write an address into the server's log.
const TAKEN = (schema: string) => `CASE WHEN c.after IS NOT NULL AND (
      row_number() OVER (PARTITION BY c.after ->> 'email' ORDER BY c.ordinal) > 1
      OR EXISTS (SELECT FROM ${schema}users u WHERE u.tenant_id = $1 AND u.email = c.after ->> 'email' AND u.id <> c.id)) THEN 'email' END`

/** Writes changed users, removes erased ones with the answers that show them, appends their events and advances the head. Refuses `email` to a second user. */
export function saveUsers(tenantUid: string, epoch: number, changes: readonly Change<User>[], most: Most): Statement {
  return {
    name: 'user.save',
    text: (schema) => `
      WITH ${number(schema, { table: 'users', columns: USER_COLUMNS }, TAKEN(schema))}, written AS (
        INSERT INTO ${schema}users (tenant_id, id, email, display_name, version, position, created_at, updated_at)
        SELECT $1, n.id, u.email, u."displayName", n.next, n.position, u."createdAt", u."updatedAt"
        FROM numbered n CROSS JOIN jsonb_to_record(n.after) AS u (email text, "displayName" text, "createdAt" timestamptz, "updatedAt" timestamptz)
        WHERE n.after IS NOT NULL
        ON CONFLICT (tenant_id, id) DO UPDATE SET
          email = excluded.email, display_name = excluded.display_name, version = excluded.version, position = excluded.position,
          updated_at = excluded.updated_at
      ), removed AS (
        DELETE FROM ${schema}users WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT n.id FROM numbered n WHERE n.after IS NULL))
      ), forgotten AS (
        DELETE FROM ${schema}idempotency WHERE tenant_id = $1 AND aggregate_id = ANY (ARRAY(SELECT n.id FROM numbered n WHERE n.after IS NULL))
      ), ${append(schema, 'users')}
      ${saved}`,
    values: changeValues(tenantUid, epoch, changes, most),
  }
}
