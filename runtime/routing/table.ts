import { type Credentials, DEFAULT_SCOPES, type Route, type RoutingDocument, type ShardEndpoint } from '../../config/routing.ts'
import type { Principal } from '../tenancy/identify.ts'

/** How to log in to one Shard. The object stays the same one as long as nothing of it changes, so that pools can compare it. */
export type ShardAccess = ShardEndpoint & { name: string; credentials: Credentials }

/** A key that the table knows: the SHA-256 of its token, and when it ends in milliseconds since 1970. */
export type KnownKey = Principal & { digest: Uint8Array; expiresAt: number }

/** Where every tenant lives, as one value: a request that took a table sees one truth until its end. */
export type RoutingTable = {
  /** By the prefix of the token; those whose prefix is not known by its SHA-256, in hex. */
  byKey: ReadonlyMap<string, readonly KnownKey[]>
  /** By full host name in lower case, without a trailing dot. */
  byHost: ReadonlyMap<string, Route>
  /** By the tenant's name. */
  byId: ReadonlyMap<string, Route>
  byUid: ReadonlyMap<string, Route>
  /** Those that any tenant lists in its settings. */
  origins: ReadonlySet<string>
  /** The Shards that can be logged in to. */
  shards: ReadonlyMap<string, ShardAccess>
  /** A Shard is left out, since those who serve give back connections for us to have. */
  waits: boolean
  /** The logins of tenants with a database of their own, by role. */
  logins: ReadonlyMap<string, Credentials>
  /** What the documents say twice; none of it is in the maps above, so that no request is served on a guess. */
  faults: readonly string[]
}

/** The table before anything was read. */
export const EMPTY_TABLE: RoutingTable = buildTable([], new Map(), new Map())

/**
 * Joins the documents into one table. What two tenants claim at once (an id, a key, a host) is given to neither and told in
 * `faults`. Shards that did not change keep their object of `previous`. One that is not in there is left out while it settles: so a replica that
 * comes opens no connection before there is room for it.
 */
export function buildTable(
  documents: Iterable<RoutingDocument>,
  credentials: ReadonlyMap<string, Credentials>,
  previous: ReadonlyMap<string, ShardAccess>,
): RoutingTable {
  const byToken = claims<KnownKey & { foundBy: string }>((known) => known.route)
  const byHost = claims<Route>((route) => route)
  const byId = claims<Route>((route) => route)
  const byUid = claims<Route>((route) => route)
  const all = [...documents]
  for (const document of all) {
    for (const route of document.tenants) {
      byUid.add(route.uid, route)
      byId.add(route.id, route)
      for (const host of route.hosts) byHost.add(host.toLowerCase(), route)
      for (const key of route.keys) byToken.add(key.sha256, knownKey(route, key))
    }
  }
  const { shards, waits } = joinShards(all, credentials, previous)
  const origins = new Set([...byUid.map.values()].flatMap(({ settings }) => settings?.allowedOrigins ?? []))
  const faults = [
    ...byUid.doubles.map((uid) => `two routes with the uid ${uid}`),
    ...byId.doubles.map((id) => `two tenants with the id ${id}`),
    ...byHost.doubles.map((host) => `two tenants with the host ${host}`),
    // A key's hash is told to nobody: it would be enough to find the key's owner in another leak.
    ...byToken.doubles.map(() => 'two tenants with the same key'),
  ]
  const byKey = Map.groupBy(byToken.map.values(), ({ foundBy }) => foundBy)
  return { byKey, byHost: byHost.map, byId: byId.map, byUid: byUid.map, origins, shards, waits, logins: credentials, faults }
}

function joinShards(
  documents: readonly RoutingDocument[],
  credentials: ReadonlyMap<string, Credentials>,
  previous: ReadonlyMap<string, ShardAccess>,
): Pick<RoutingTable, 'shards' | 'waits'> {
  const shards = new Map<string, ShardAccess>()
  let waits = false
  for (const [name, endpoint] of documents.flatMap((document) => Object.entries(document.shards))) {
    const login = credentials.get(name)
    const before = previous.get(name)
    if (endpoint.settling === true && before === undefined) waits = true
    else if (login !== undefined) shards.set(name, unchanged(before, { ...endpoint, name, credentials: login }))
  }
  return { shards, waits }
}

function knownKey(route: Route, { name, sha256, prefix, scopes, expiresAt }: Route['keys'][number]) {
  return {
    route,
    caller: `key:${name}`,
    scopes: new Set(scopes ?? DEFAULT_SCOPES),
    digest: Buffer.from(sha256, 'hex'),
    foundBy: prefix ?? sha256,
    expiresAt: expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt),
  }
}

/** True when all that it takes to log in for the tenant is known. */
export function isReachable({ shards, logins }: Pick<RoutingTable, 'shards' | 'logins'>, { shard, isolation, role }: Route): boolean {
  return shards.has(shard) && (isolation !== 'database' || logins.has(role))
}

/** A map that gives what two owners claim to nobody. */
function claims<V>(owner: (value: V) => Route): { map: Map<string, V>; doubles: string[]; add: (key: string, value: V) => void } {
  const map = new Map<string, V>()
  const doubles: string[] = []
  const add = (key: string, value: V): void => {
    if (doubles.includes(key)) return
    const before = map.get(key)
    if (before === undefined) {
      map.set(key, value)
    } else if (owner(before) !== owner(value)) {
      map.delete(key)
      doubles.push(key)
    }
  }
  return { map, doubles, add }
}

function unchanged(before: ShardAccess | undefined, after: ShardAccess): ShardAccess {
  if (before === undefined) return after
  const same =
    before.host === after.host &&
    before.port === after.port &&
    before.database === after.database &&
    before.tls === after.tls &&
    before.connections === after.connections &&
    before.credentials.username === after.credentials.username &&
    before.credentials.password === after.credentials.password &&
    before.credentials.ca === after.credentials.ca
  return same ? before : after
}
