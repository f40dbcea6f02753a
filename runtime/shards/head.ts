import type { Statement } from './statement.ts'

/**
 * Locks the tenant's head until the transaction ends; no row: this process works from an old route. It must stand alone
 * before what depends on it, since only the next statement sees what was committed while this one waited.
 */
export function lockHead(tenantUid: string, epoch: number): Statement {
  return {
    name: 'head.lock',
    text: () => 'SELECT position FROM tenantry.head WHERE tenant = $1 AND epoch = $2 FOR UPDATE',
    values: [tenantUid, epoch],
  }
}

/** The heads of all tenants of a Shard that have events. */
export const findHeads: Statement = {
  name: 'head.find',
  text: () => 'SELECT tenant, position FROM tenantry.head WHERE position > 0',
  values: [],
}
