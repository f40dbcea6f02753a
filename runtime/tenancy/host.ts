import type { Route } from '../../config/routing.ts'

/** What finding a tenant by name needs of the routing table. */
export type Names = { byHost: ReadonlyMap<string, Route>; byId: ReadonlyMap<string, Route> }

// What a client may send: a name, an IPv4 address or an IPv6 address in brackets, each with a port or without.
const HOST = /^((?:[\w-]+\.)*[\w-]+|\[[0-9a-f:.]+\])?\.?(:\d{0,5})?$/i

/**
 * Whom a host name names. A name under the base domain always means a tenant: exactly one label, `<tenant>.<base domain>`. Any other
 * name means one only when a tenant lists it: the address of a load balancer names nobody. What is no host name is `unknown`.
 */
export function namedBy(host: string | undefined, names: Names, baseDomain: string): Route | 'nobody' | 'unknown' {
  if (host === undefined) return 'nobody'
  const name = normalizeHost(host)
  if (name === undefined) return 'unknown'
  const listed = names.byHost.get(name)
  const label = before(name, baseDomain)
  if (label === undefined) return listed ?? 'nobody'
  // Before what is listed: no tenant takes another's own name away by listing it.
  return names.byId.get(label) ?? listed ?? 'unknown'
}

/** The tenant that a host name under the base domain means, known or not; undefined: it is not under it. */
export function labelOf(host: string | undefined, baseDomain: string): string | undefined {
  const name = host === undefined ? undefined : normalizeHost(host)
  return name === undefined ? undefined : before(name, baseDomain)
}

function before(name: string, baseDomain: string): string | undefined {
  return name.endsWith(`.${baseDomain}`) ? name.slice(0, -baseDomain.length - 1) : undefined
}

/** A `Host` header as a name: lower case, without port and trailing dot. */
function normalizeHost(host: string): string | undefined {
  const match = HOST.exec(host)
  return match === null ? undefined : (match[1] ?? '').toLowerCase()
}
