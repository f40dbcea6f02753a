import type { Route, Scope } from '../../config/routing.ts'

/**
 * Who a piece of work is for. Built once, from a verified credential, and passed as an argument to everything that touches
 * data: nothing looks a tenant up by itself.
 */
export type TenantContext = {
  /** The tenant's name, as its owner knows it. */
  id: string
  /** The Tenant's UID: part of every key, subject and physical name. */
  uid: string
  /** Where the tenant lives, as the table said when the work began. */
  route: Route
  /** The principal that spoke, by a name that stays; see tenancy/identify. */
  caller: string
  /** What the principal may do. */
  scopes: ReadonlySet<Scope>
  requestId: string
}
