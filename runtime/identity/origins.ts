import type { Route } from '../../config/routing.ts'
import type { RoutingTable } from '../routing/table.ts'
import { namedBy } from '../tenancy/host.ts'
import type { Evidence, FindTenantOptions } from './find-tenant.ts'

/** Whether a page of that origin may send a request: said before the request, and so without its credential. */
export type MayAsk = (origin: string, evidence: Pick<Evidence, 'host' | 'forwardedHost' | 'socketAddress'>) => boolean

/**
 * Where the host names a tenant, it must list the origin; any other host is one under which each tenant is served, and then any tenant's will do:
 * who may read the answer is decided by the request's own tenant.
 */
export function createMayAsk({ directory, baseDomain, isGateway }: Omit<FindTenantOptions, 'verifyToken'>): MayAsk {
  return (origin, { host, forwardedHost, socketAddress }) => {
    const table: RoutingTable = directory.table()
    const named = namedBy(isGateway(socketAddress) ? (forwardedHost ?? host) : host, table, baseDomain)
    if (named === 'unknown') return false
    return named === 'nobody' ? table.origins.has(origin) : mayRead(origin, named)
  }
}

/** Whether the tenant lets pages of that origin read its answers. */
export function mayRead(origin: string, { settings }: Pick<Route, 'settings'>): boolean {
  return settings?.allowedOrigins?.includes(origin) ?? false
}
