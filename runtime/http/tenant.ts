import { hash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { TenantryError } from '../errors.ts'
import { isReachable, type RoutingTable } from '../routing/table.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { type Claims, type Directory, type Identity, identify } from '../tenancy/identify.ts'

/** A longer key is none of ours, and is not worth hashing. */
const LONGEST_KEY = 256

/** What finding the tenant needs of the routing. */
export type TenantDirectory = {
  table: () => Directory & Pick<RoutingTable, 'shards' | 'logins'>
  /** Reads the routing config afresh. Throws when it cannot be read. */
  look: () => Promise<void>
}

/** Finds the tenant of a request. Throws `unauthenticated`, `tenant-conflict`, `tenant-suspended`, or `overloaded` when the routing config cannot be read. */
export type FindTenant = (request: IncomingMessage, requestId: string) => TenantContext | Promise<TenantContext>

/**
 * A key or host that the table does not know, or knows as another tenant's, is refused only after a look at the routing config that
 * is newer than the request: a tenant that has just become Ready is served by every replica, also under a host that was another's. So is
 * one whose Shard or login the table does not know yet: the documents arrive in any order. A suspended tenant is looked for too, since it
 * may have been resumed; when the routing config cannot be read, it stays refused.
 */
export function createFindTenant(directory: TenantDirectory, baseDomain: string): FindTenant {
  const ask = (claims: Claims): Identity => identify(claims, directory.table(), baseDomain, sameHash, Date.now())
  const afterLook = async (claims: Claims, first: Identity, requestId: string): Promise<TenantContext> => {
    try {
      await directory.look()
    } catch (cause) {
      if (first.kind === 'suspended') throw refusal(first)
      throw new TenantryError('overloaded', 'It cannot be checked at the moment whose request this is.', { retryAfter: 1, cause })
    }
    const identity = ask(claims)
    if (identity.kind !== 'tenant') throw refusal(identity)
    return contextOf(identity, requestId)
  }
  return (request, requestId) => {
    const claims = claimsOf(request)
    const identity = ask(claims)
    if (identity.kind === 'tenant' && isReachable(directory.table(), identity.route)) return contextOf(identity, requestId)
    if (identity.kind === 'no-credential') throw refusal(identity)
    return afterLook(claims, identity, requestId)
  }
}

function claimsOf(request: IncomingMessage): Claims {
  const key = request.headers['x-api-key']
  const tenantId = request.headers['x-tenant-id']
  return {
    keyHash: typeof key === 'string' && key !== '' && key.length <= LONGEST_KEY ? hash('sha256', key, 'hex') : undefined,
    host: request.headers.host,
    tenantId: typeof tenantId === 'string' ? tenantId : undefined,
  }
}

function contextOf({ route, caller, scopes }: Extract<Identity, { kind: 'tenant' }>, requestId: string): TenantContext {
  return { id: route.id, uid: route.uid, route, caller, scopes, requestId }
}

function refusal(identity: Exclude<Identity, { kind: 'tenant' }>): TenantryError {
  if (identity.kind === 'no-credential') return new TenantryError('unauthenticated', 'Send an API key in the header X-API-Key.')
  if (identity.kind === 'unknown-key') return new TenantryError('unauthenticated', 'The API key is not valid.')
  if (identity.kind === 'suspended')
    return new TenantryError('tenant-suspended', 'This tenant is suspended; its data is kept. Ask those who run it to resume it.')
  return new TenantryError('tenant-conflict', 'The host name or X-Tenant-ID names another tenant than the API key.')
}

function sameHash(left: string, right: string): boolean {
  return left.length === right.length && timingSafeEqual(Buffer.from(left), Buffer.from(right))
}
