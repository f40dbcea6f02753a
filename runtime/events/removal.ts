import type { Statement } from '../shards/statement.ts'
import { EVENT_COLUMNS } from './store.ts'

/**
 * The events behind `after` that nobody waits for any more, in order, at most `limit`: they are relayed, and these projections have read them.
 * Each says besides whether it is `over`, older than so many days.
 */
export function eventsRead(tenantUid: string, after: number, projections: readonly string[], days: number, limit: number): Statement {
  return {
    name: 'events.read',
    text: (schema) => `
      SELECT ${EVENT_COLUMNS}, e.time < now() - make_interval(days => $4::int) AS over
      FROM ${schema}events e WHERE tenant_id = $1 AND position > $2 AND position <= (
        SELECT least(r.position, (
          SELECT min(coalesce(c.position, 0)) FROM jsonb_array_elements_text($3::jsonb) name
          LEFT JOIN ${schema}checkpoints c ON c.tenant_id = $1 AND c.projection = name))
        FROM tenantry.relayed r WHERE r.tenant = $1)
      ORDER BY position LIMIT $5`,
    values: [tenantUid, after, JSON.stringify(projections), days, limit],
  }
}

/** Removes the events up to `position`. Their lines of the audit log go on in the table of what left no event, in the same place of its order. */
export function removeEvents(tenantUid: string, position: number): Statement {
  return {
    name: 'events.remove',
    text: (schema) => `
      WITH removed AS (
        DELETE FROM ${schema}events WHERE tenant_id = $1 AND position <= $2
        RETURNING position, id, time, caller, command, aggregate_id, request_id
      )
      INSERT INTO ${schema}audit (tenant_id, position, number, id, time, caller, action, result, target, request_id)
      SELECT $1, position, 0, id, time, caller, command, 'done', aggregate_id, request_id FROM removed WHERE command IS NOT NULL`,
    values: [tenantUid, position],
  }
}
