import type { Route, Scope } from '../../config/routing.ts'

/** What a request says about whose it is. */
export type Claims = {
  /** SHA-256 of the API key in hex; undefined: no key was sent. */
  keyHash: string | undefined
  /** The `Host` header as sent. */
  host: string | undefined
  /** `X-Tenant-ID` as sent. */
  tenantId: string | undefined
}

/** What identification needs of the routing table. */
export type Directory = {
  byKey: ReadonlyMap<string, { route: Route; name: string; sha256: string; scopes: ReadonlySet<Scope> }>
  byHost: ReadonlyMap<string, Route>
  byId: ReadonlyMap<string, Route>
}

/** Whose request it is; all but `no-credential` may be answered otherwise by a newer table. */
export type Identity =
  | { kind: 'tenant'; route: Route; caller: string; scopes: ReadonlySet<Scope> }
  | { kind: 'no-credential' }
  | { kind: 'unknown-key' }
  | { kind: 'unknown-host' }
  | { kind: 'conflict' }
  | { kind: 'suspended' }

/**
 * Works out the tenant. The key decides; the host name and `X-Tenant-ID` only narrow: one that names another tenant, or a tenant
 * that is not known, is a conflict and opens nothing. Only who has the key is told that a tenant is suspended. `equal` compares two hashes
 * in a time that does not depend on them; `now` is in milliseconds since 1970.
 */
export function identify(
  claims: Claims,
  directory: Directory,
  baseDomain: string,
  equal: (left: string, right: string) => boolean,
  now: number,
): Identity {
  if (claims.keyHash === undefined) return { kind: 'no-credential' }
  const known = directory.byKey.get(claims.keyHash)
  if (known === undefined || !equal(known.sha256, claims.keyHash)) return { kind: 'unknown-key' }
  if (claims.tenantId !== undefined && claims.tenantId !== known.route.id) return { kind: 'conflict' }
  const named = namedBy(claims.host, directory, baseDomain)
  if (named !== 'nobody' && named !== known.route) return { kind: named === 'unknown' ? 'unknown-host' : 'conflict' }
  if (isSuspended(known.route, now)) return { kind: 'suspended' }
  return { kind: 'tenant', route: known.route, caller: `key:${known.name}`, scopes: known.scopes }
}

/** The end that stands in the route holds by this replica's own clock, whether or not the operator has said so since. */
function isSuspended({ state, subscriptionEndsAt }: Route, now: number): boolean {
  return state === 'suspended' || (subscriptionEndsAt !== undefined && Date.parse(subscriptionEndsAt) <= now)
}

/**
 * Whom a host name names. A name under the base domain always means a tenant: exactly one label, `<tenant>.<base domain>`. Any
 * other name means one only when a tenant lists it: the address of a load balancer names nobody.
 */
function namedBy(host: string | undefined, directory: Directory, baseDomain: string): Route | 'nobody' | 'unknown' {
  if (host === undefined) return 'nobody'
  const name = normalizeHost(host)
  const listed = directory.byHost.get(name)
  if (!name.endsWith(`.${baseDomain}`)) return listed ?? 'nobody'
  // Before what is listed: no tenant takes another's own name away by listing it.
  return directory.byId.get(name.slice(0, -baseDomain.length - 1)) ?? listed ?? 'unknown'
}

/** A `Host` header as a name: lower case, without port and trailing dot. */
function normalizeHost(host: string): string {
  const lower = host.toLowerCase()
  const colon = lower.startsWith('[') ? -1 : lower.lastIndexOf(':')
  const name = colon === -1 ? lower : lower.slice(0, colon)
  return name.endsWith('.') ? name.slice(0, -1) : name
}
