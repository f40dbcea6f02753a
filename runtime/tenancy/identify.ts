import { DEFAULT_SCOPES, type Route, SCOPES, type Scope } from '../../config/routing.ts'
import { labelOf, type Names, namedBy } from './host.ts'

/** Somebody whose credential was verified. `caller` is a name that stays: `key:<name>`, `jwt:<sub>` (`jwt` where a token names nobody), `gateway`. */
export type Principal = { route: Route; caller: string; scopes: ReadonlySet<Scope> }

/** What a request says about whose it is, its credentials verified. */
export type Claims = {
  /** Whose the API key is; undefined: none was sent. */
  key: Principal | undefined
  /** Whose the bearer token is; undefined: none was sent. */
  token: Principal | undefined
  /** The host name as it was sent. */
  host: string | undefined
  /** `X-Tenant-ID` as it was sent. */
  tenantId: string | undefined
  /** What a trusted gateway says its caller may do; undefined: the request does not come from one. */
  gateway: ReadonlySet<Scope> | undefined
}

/** Whose request it is; all but `tenant` and `no-credential` may be answered otherwise by a newer table. */
export type Identity =
  | ({ kind: 'tenant' } & Principal)
  | { kind: 'no-credential' }
  | { kind: 'unknown-tenant' }
  | { kind: 'conflict' }
  | { kind: 'suspended' }

/**
 * Works out the tenant. A credential decides; the host name and `X-Tenant-ID` only narrow: one that names another tenant, or a tenant
 * that is not known, is a conflict and opens nothing. With a key and a token both must be the same tenant's, and only what both may do
 * is allowed. Without a credential only a trusted gateway names its tenant. Only who has got so far is told that a tenant is suspended.
 * `now` is in milliseconds since 1970.
 */
export function identify(claims: Claims, names: Names, baseDomain: string, now: number): Identity {
  const principal = principalOf(claims)
  if (principal === 'conflict') return { kind: 'conflict' }
  if (principal === undefined && claims.gateway === undefined) return unproven(claims, baseDomain)
  const named = namedBy(claims.host, names, baseDomain)
  if (principal === undefined) return byGateway(claims, named, names, now)
  if (claims.tenantId !== undefined && claims.tenantId !== principal.route.id) return { kind: 'conflict' }
  if (named !== 'nobody' && named !== principal.route) return { kind: 'conflict' }
  return admit(principal, now)
}

/** What a gateway, or a token, may give: words of ours, others mean nothing here. */
export function parseScopes(words: readonly unknown[]): ReadonlySet<Scope> {
  return new Set(SCOPES.filter((scope) => words.includes(scope)))
}

/** What a caller of a gateway may do that says nothing about it. */
export const GATEWAY_SCOPES: ReadonlySet<Scope> = new Set(DEFAULT_SCOPES)

function principalOf({ key, token }: Claims): Principal | undefined | 'conflict' {
  if (key === undefined || token === undefined) return key ?? token
  if (key.route !== token.route) return 'conflict'
  return { ...token, scopes: new Set(SCOPES.filter((scope) => key.scopes.has(scope) && token.scopes.has(scope))) }
}

/** Nothing is proven, so nothing is told: what disagrees does so by its words alone, whatever tenants there are. */
function unproven({ host, tenantId }: Claims, baseDomain: string): Identity {
  const label = labelOf(host, baseDomain)
  return { kind: tenantId !== undefined && label !== undefined && label !== tenantId ? 'conflict' : 'no-credential' }
}

function byGateway({ gateway, tenantId }: Claims, named: ReturnType<typeof namedBy>, names: Names, now: number): Identity {
  if (gateway === undefined || (tenantId === undefined && named === 'nobody')) return { kind: 'no-credential' }
  const route = tenantId === undefined ? named : names.byId.get(tenantId)
  if (typeof route !== 'object' || named === 'unknown') return { kind: 'unknown-tenant' }
  if (named !== 'nobody' && named !== route) return { kind: 'conflict' }
  return admit({ route, caller: 'gateway', scopes: gateway }, now)
}

function admit({ route, caller, scopes }: Principal, now: number): Identity {
  return isSuspended(route, now) ? { kind: 'suspended' } : { kind: 'tenant', route, caller, scopes }
}

/** Whether the tenant is suspended at that time. The end that stands in the route holds by this replica's own clock, whether or not the operator has said so since. */
export function isSuspended({ state, subscriptionEndsAt }: Route, now: number): boolean {
  return state === 'suspended' || (subscriptionEndsAt !== undefined && Date.parse(subscriptionEndsAt) <= now)
}
