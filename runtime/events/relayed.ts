import type { Statement } from '../shards/statement.ts'

/** The tenants of a Shard with events that are still to be relayed. */
export const findUnrelayed: Statement = {
  name: 'relayed.find',
  text: () => 'SELECT h.tenant FROM tenantry.head h JOIN tenantry.relayed r USING (tenant) WHERE h.position > r.position',
  values: [],
}

/**
 * How far the tenant is relayed, locked; no row while another replica is at it. The commit does not wait for the disk: a mark
 * that a crash takes back only sends events once more.
 */
export function lockRelayed(tenantUid: string): Statement {
  return {
    name: 'relayed.lock',
    text: () =>
      `SELECT position, set_config('synchronous_commit', 'off', true) FROM tenantry.relayed WHERE tenant = $1 FOR UPDATE SKIP LOCKED`,
    values: [tenantUid],
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
