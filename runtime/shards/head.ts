import { TenantryError } from '../errors.ts'
import type { Row, Statement } from './statement.ts'

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

/** Throws `shard-unavailable` when `lockHead` found none: the next request goes by a newer route. */
export function requireHead(rows: readonly Row[] | undefined): void {
  if (rows?.length !== 1) throw new TenantryError('shard-unavailable', "The tenant's place has changed.", { retryAfter: 1 })
}

/** The heads of all tenants of a Shard that have events. */
export const findHeads: Statement = {
  name: 'head.find',
  text: () => 'SELECT tenant, position FROM tenantry.head WHERE position > 0',
  values: [],
}
