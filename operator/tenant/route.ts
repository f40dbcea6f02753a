import type { Secret } from '../kubernetes/object.ts'
import { buildRoute, type DatedRoute } from '../routing/build.ts'
import { dataUid, homeInStatus, type Tenant } from './home.ts'
import { readKey, routeKeys } from './keys.ts'
import { routeLimits } from './limits.ts'
import { describeTenant } from './settings.ts'
import { routeState } from './subscription.ts'

/** The route of a tenant that stands, out of what the cluster knows alone; none of one that is to be deleted. */
export function routeInStatus(tenant: Tenant, secrets: readonly Secret[], now: number): DatedRoute[] {
  const { name: id, uid, deletionTimestamp, creationTimestamp: createdAt } = tenant.metadata
  const home = homeInStatus(tenant)
  if (home === undefined || deletionTimestamp !== undefined) return []
  const keys = secrets.flatMap((secret) => readKey(secret, uid) ?? [])
  const route = buildRoute({
    id,
    uid: dataUid(tenant),
    about: describeTenant(tenant.spec),
    home,
    state: routeState(tenant.spec, now),
    limits: routeLimits(tenant.spec),
    hosts: tenant.spec.hosts ?? [],
    keys: routeKeys(tenant.spec.apiKeys ?? [], keys, now),
    jwt: tenant.spec.jwt,
  })
  return [{ route, createdAt }]
}
