import { type Issuer, type Limits, ROUTING_BUCKETS, type Route } from '../../config/routing.ts'
import type { Isolation } from '../../crds/tenant.ts'

const GOLDEN = (Math.sqrt(5) - 1) / 2

/** Where a tenant stands in its Shard. */
export type Home = {
  shard: string
  isolation: Isolation
  database: string
  schema: string
  role: string
  epoch: number
  schemaVersion: number
}

/** What the route of a tenant is made of. */
export type RouteParts = {
  id: string
  uid: string
  home: Home
  about: Pick<Route, 'displayName' | 'plan' | 'settings'>
  state: Pick<Route, 'state' | 'subscriptionEndsAt'>
  limits: Limits
  hosts: readonly string[]
  keys: Route['keys']
  jwt?: Issuer | undefined
}

/** A route, and when its Tenant was created, which says the document it stands in. */
export type DatedRoute = { route: Route; createdAt: string }

/**
 * The bucket of a tenant, by the second of its Tenant's creation: tenants that come together share the writes of one document. Steps of
 * the golden ratio (Knuth, The Art of Computer Programming 3, 6.4) keep seconds apart that follow each other or come at round times.
 */
export function bucketOf(createdAt: string): number {
  const seconds = Math.floor(Date.parse(createdAt) / 1000)
  return Math.floor(((seconds * GOLDEN) % 1) * ROUTING_BUCKETS)
}

/** The route of one tenant; the same parts always give an equal route. */
export function buildRoute({ id, uid, about, home, state, limits, hosts, keys, jwt }: RouteParts): Route {
  return {
    id,
    uid,
    ...about,
    ...home,
    ...state,
    limits,
    hosts: [...hosts].sort(),
    keys: keys.toSorted((a, b) => (`${a.name} ${a.sha256}` < `${b.name} ${b.sha256}` ? -1 : 1)),
    ...(jwt === undefined ? {} : { jwt }),
  }
}
