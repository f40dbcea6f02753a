import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { KEY_PREFIX_LENGTH, type Route, type RoutingDocument, SCOPES } from '../../config/routing.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'

/** A route that is complete and valid; what a test is about is set in `changes`. */
export function buildRoute(changes: Partial<Route> = {}): Route {
  const uid = changes.uid ?? randomUUID()
  const name = `t_${uid.replaceAll('-', '')}`
  return {
    id: `tenant-${uid.slice(0, 8)}`,
    uid,
    shard: 'shard-a',
    isolation: 'schema',
    database: 'tenantry',
    schema: name,
    role: name,
    epoch: 1,
    schemaVersion: 2,
    state: 'active',
    hosts: [],
    keys: [],
    ...changes,
  }
}

/** The context of a caller who may do everything; what a test is about is set in `changes`. */
export function buildContext(changes: Partial<TenantContext> = {}): TenantContext {
  const { route = buildRoute() } = changes
  return { id: route.id, uid: route.uid, route, caller: 'key:test', scopes: new Set(SCOPES), requestId: 'test', ...changes }
}

/** A new API key: the token for a client, and what the routing config keeps of it. */
export function buildKey(name = 'web'): { token: string; key: Route['keys'][number] & { prefix: string } } {
  const token = `tnt_${randomBytes(32).toString('base64url')}`
  return { token, key: { name, sha256: createHash('sha256').update(token).digest('hex'), prefix: token.slice(0, KEY_PREFIX_LENGTH) } }
}

/** A routing document with these tenants. */
export function buildDocument(tenants: Route[], shards: RoutingDocument['shards'] = {}): RoutingDocument {
  return { version: 1, shards, tenants }
}
