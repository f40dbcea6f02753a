import type { Statement } from '../shards/statement.ts'
import { isOnTimeline } from '../shards/timeline.ts'
import { EVENT_COLUMNS } from './store.ts'

/** The tenants of a Shard with events that are still to be relayed. */
export const findUnrelayed: Statement = {
  name: 'relayed.find',
  text: () => 'SELECT h.tenant FROM tenantry.head h JOIN tenantry.relayed r USING (tenant) WHERE h.position > r.position',
  values: [],
}

/**
 * Locks how far the tenant is relayed and gives the next events; none while another replica is at it, or when there are none. The commit
 * does not wait for the disk: a mark that a crash takes back only sends events once more. The lock may be newer than the statement's view
 * of the events, which then misses the newest: they are found the next time. None, too, when the server has left the timeline that is named.
 */
export function nextUnrelayed(tenantUid: string, limit: number, timeline: string | undefined): Statement {
  return {
    name: 'relayed.next',
    text: (schema) => `
      WITH mark AS MATERIALIZED (
        SELECT position, set_config('synchronous_commit', 'off', true) FROM tenantry.relayed
        WHERE tenant = $1 AND ($3::text IS NULL OR ${isOnTimeline('$3::text')}) FOR UPDATE SKIP LOCKED
      )
      SELECT ${EVENT_COLUMNS}
      FROM ${schema}events WHERE tenant_id = $1 AND position > (SELECT position FROM mark) ORDER BY position LIMIT $2`,
    values: [tenantUid, limit, timeline ?? null],
  }
}

/** Notes that the tenant is relayed up to `position`. */
export function advanceRelayed(tenantUid: string, position: number): Statement {
  return {
    name: 'relayed.advance',
    text: () => 'UPDATE tenantry.relayed SET position = $2 WHERE tenant = $1',
    values: [tenantUid, position],
  }
}
