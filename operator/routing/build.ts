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
  state: Pick<Route, 'state' | 'subscriptionEndsAt'>
  limits: Limits
  hosts: readonly string[]
  keys: Route['keys']
  jwt?: Issuer | undefined
}

/** The route of one tenant; the same parts always give an equal route. */
export function buildRoute({ id, uid, home, state, limits, hosts, keys, jwt }: RouteParts): Route {
  return {
    id,
    uid,
    ...home,
    ...state,
    limits,
    hosts: [...hosts].sort(),
    keys: keys.toSorted((a, b) => (`${a.name} ${a.sha256}` < `${b.name} ${b.sha256}` ? -1 : 1)),
    ...(jwt === undefined ? {} : { jwt }),
  }
}
