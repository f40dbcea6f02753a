import type { Issuer, Limits, Route } from '../../config/routing.ts'
import type { Isolation } from '../../crds/tenant.ts'

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

/** A document as far as it takes new routes: how many it has, and whether it waits to be written. */
export type Bucket = { routes: { size: number }; waits: boolean }

/** So many routes more than the shortest document has may come into one that waits to be written. */
const GATHERED = 64

/**
 * The document for a new route: the one that waits to be written, so that tenants that come together share a write, as long as no document
 * becomes much longer than the others; else the shortest.
 */
export function roomiest<B extends Bucket>(buckets: readonly B[]): B {
  const byLength = buckets.toSorted((a, b) => a.routes.size - b.routes.size)
  const [shortest] = byLength
  if (shortest === undefined) throw new Error('there are no documents')
  return byLength.find(({ waits, routes }) => waits && routes.size < shortest.routes.size + GATHERED) ?? shortest
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
