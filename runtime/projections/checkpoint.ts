import { EVENT_COLUMNS, toStoredEvent } from '../events/store.ts'
import type { Run } from '../shards/session.ts'
import type { Statement } from '../shards/statement.ts'
import type { StoredEvent } from './projection.ts'

/** How far a projection has read a tenant's events, and what comes next. */
export type Following = { checkpoint: number; events: StoredEvent[] }

/**
 * Locks how far the projection has read the tenant's events until the transaction ends, so that replicas go one after the other, and gives
 * the next events, at most `limit`. Whoever waited for the lock sees the events of when it asked: all that it had heard of by then.
 */
export async function lockFollowing(run: Run, tenantUid: string, projection: string, limit: number): Promise<Following> {
  const statement = following(tenantUid, projection, limit)
  const found = await run(statement)
  const rows = found.length > 0 ? found : await run(insert(tenantUid, projection), statement)
  const events = rows.filter(({ id }) => id !== null).map((row) => toStoredEvent(tenantUid, row))
  return { checkpoint: Number(rows[0]?.reached ?? 0), events }
}

/** Notes that the projection has read up to `position`. */
export function advanceCheckpoint(tenantUid: string, projection: string, position: number): Statement {
  return {
    name: 'checkpoint.advance',
    text: (schema) => `UPDATE ${schema}checkpoints SET position = $3 WHERE tenant_id = $1 AND projection = $2`,
    values: [tenantUid, projection, position],
  }
}

function following(tenantUid: string, projection: string, limit: number): Statement {
  return {
    name: 'checkpoint.following',
    text: (schema) => `
      WITH mark AS MATERIALIZED (
        SELECT position FROM ${schema}checkpoints WHERE tenant_id = $1 AND projection = $2 FOR UPDATE
      )
      SELECT mark.position AS reached, e.* FROM mark LEFT JOIN LATERAL (
        SELECT ${EVENT_COLUMNS}
        FROM ${schema}events WHERE tenant_id = $1 AND position > mark.position ORDER BY position LIMIT $3
      ) e ON true ORDER BY e.position`,
    values: [tenantUid, projection, limit],
  }
}

function insert(tenantUid: string, projection: string): Statement {
  return {
    name: 'checkpoint.make',
    text: (schema) => `INSERT INTO ${schema}checkpoints (tenant_id, projection, position) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING`,
    values: [tenantUid, projection],
  }
}
