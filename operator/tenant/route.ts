import type { Route } from '../../config/routing.ts'
import { buildRoute, type Home } from '../routing/build.ts'
import { dataUid, homeInStatus, type Tenant } from './home.ts'
import { type ApiKey, routeKeys } from './keys.ts'
import { routeLimits } from './limits.ts'
import { describeTenant } from './settings.ts'
import { routeState } from './subscription.ts'

/** The route of a tenant that stands at `home`, with those of its hosts and keys that it has. */
export function routeOf(tenant: Tenant, home: Home, hosts: readonly string[], keys: readonly ApiKey[], now: number): Route {
  const { metadata, spec } = tenant
  return buildRoute({
    id: metadata.name,
    uid: dataUid(tenant),
    about: describeTenant(spec),
    home,
    state: routeState(spec, now),
    limits: routeLimits(spec),
    hosts,
    keys: routeKeys(spec.apiKeys ?? [], keys, now),
    jwt: spec.jwt,
  })
}

/** The same out of what the cluster knows alone; none of one that is to be deleted. */
export function routeInStatus(tenant: Tenant, keys: readonly ApiKey[], now: number): Route[] {
  const { deletionTimestamp } = tenant.metadata
  const home = homeInStatus(tenant)
  if (home === undefined || deletionTimestamp !== undefined) return []
  return [routeOf(tenant, home, tenant.spec.hosts ?? [], keys, now)]
}
