import { TenantryError } from '../errors.ts'
import { isReachable, type RoutingTable } from '../routing/table.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { GATEWAY_SCOPES, type Identity, identify, type Principal, parseScopes } from '../tenancy/identify.ts'
import { findKey } from './find-key.ts'
import type { IsGateway } from './gateway.ts'
import type { Verdict, VerifyToken } from './verify.ts'

/** What a request brings along about whose it is, in whatever protocol; undefined: it does not say. */
export type Evidence = {
  /** An API key's token. */
  apiKey: string | undefined
  /** The credential behind `Authorization`. */
  authorization: string | undefined
  host: string | undefined
  tenantId: string | undefined
  /** The address of the socket's other end. */
  socketAddress: string | undefined
  /** What only a gateway is believed. */
  forwardedHost: string | undefined
  scopes: string | undefined
}

/** What finding the tenant needs of the routing. */
export type TenantDirectory = {
  table: () => RoutingTable
  /** Reads the routing config afresh. Throws when it cannot be read. */
  look: () => Promise<void>
}

/** What finding the tenant is made of. */
export type FindTenantOptions = { directory: TenantDirectory; baseDomain: string; isGateway: IsGateway; verifyToken: VerifyToken }

/**
 * Finds the tenant of a request. Throws `unauthenticated`, `tenant-conflict`, `tenant-suspended`, `not-found` for a tenant that a gateway names
 * and nobody knows, or `overloaded` when it cannot be found out.
 */
export type FindTenant = (evidence: Evidence, requestId: string) => TenantContext | Promise<TenantContext>

type Answer = Identity | { kind: 'unknown-key' } | { kind: 'unknown-token' } | { kind: 'void' } | { kind: 'no-token' }

/**
 * What the table does not know, or knows as another tenant's, is refused only after a look at the routing config that is newer than the
 * request: a tenant that has just become Ready is served by every replica, also under a host that was another's. So is one whose Shard
 * or login the table does not know yet: the documents arrive in any order. A suspended tenant is looked for too, since it may have been
 * resumed; when the routing config cannot be read, it stays refused.
 */
export function createFindTenant(options: FindTenantOptions): FindTenant {
  const { directory } = options
  const afterLook = async (evidence: Evidence, table: RoutingTable, first: Answer, requestId: string): Promise<TenantContext> => {
    try {
      await directory.look()
    } catch (cause) {
      if (first.kind === 'suspended') throw refusal(first)
      throw new TenantryError('overloaded', 'It cannot be checked at the moment whose request this is.', { retryAfter: 1, cause })
    }
    const newer = directory.table()
    const answer = newer === table ? first : await answerOf(evidence, newer, options)
    if (answer.kind !== 'tenant') throw refusal(answer)
    return contextOf(answer, requestId)
  }
  return (evidence, requestId) => {
    const table = directory.table()
    const conclude = (answer: Answer): TenantContext | Promise<TenantContext> => {
      if (answer.kind === 'tenant' && isReachable(table, answer.route)) return contextOf(answer, requestId)
      if (answer.kind === 'no-credential' || answer.kind === 'no-token' || answer.kind === 'void') throw refusal(answer)
      return afterLook(evidence, table, answer, requestId)
    }
    const answer = answerOf(evidence, table, options)
    return answer instanceof Promise ? answer.then(conclude) : conclude(answer)
  }
}

/** At once for keys and for tokens that are known: most requests wait for nothing. */
function answerOf(evidence: Evidence, table: RoutingTable, options: FindTenantOptions): Answer | Promise<Answer> {
  const { apiKey, authorization } = evidence
  const key = apiKey === undefined ? undefined : findKey(apiKey, table.byKey, Date.now())
  if (apiKey !== undefined && key === undefined) return { kind: 'unknown-key' }
  if (authorization === undefined) return identifyWith(evidence, key, undefined, table, options)
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1]
  if (token === undefined) return { kind: 'no-token' }
  const verdict = options.verifyToken(token, table.byId)
  const conclude = (said: Verdict): Answer => {
    if (said === 'void') return { kind: 'void' }
    return said === 'unknown' ? { kind: 'unknown-token' } : identifyWith(evidence, key, said, table, options)
  }
  return verdict instanceof Promise ? verdict.then(conclude) : conclude(verdict)
}

function identifyWith(
  { socketAddress, forwardedHost, host, tenantId, scopes }: Evidence,
  key: Principal | undefined,
  token: Principal | undefined,
  table: RoutingTable,
  { isGateway, baseDomain }: FindTenantOptions,
): Identity {
  const trusted = isGateway(socketAddress)
  const gateway = trusted ? (scopes === undefined ? GATEWAY_SCOPES : parseScopes(scopes.split(/[ ,]+/))) : undefined
  return identify({ key, token, host: trusted ? (forwardedHost ?? host) : host, tenantId, gateway }, table, baseDomain, Date.now())
}

function contextOf({ route, caller, scopes }: Principal, requestId: string): TenantContext {
  return { id: route.id, uid: route.uid, route, caller, scopes, requestId }
}

function refusal({ kind }: Exclude<Answer, { kind: 'tenant' }>): TenantryError {
  const [code, message] = REFUSALS[kind]
  // Only of a token that was sent: who has sent none, or another scheme, is told of no error (RFC 6750, 3.1).
  return new TenantryError(code, message, kind === 'void' || kind === 'unknown-token' ? { challenge: { error: 'invalid_token' } } : {})
}

const REFUSALS = {
  'no-credential': ['unauthenticated', 'Send an API key in the header X-API-Key, or a bearer token in Authorization.'],
  'unknown-key': ['unauthenticated', 'The API key is not valid, or its time is over.'],
  'unknown-token': ['unauthenticated', 'The bearer token is not valid for the tenant that it names.'],
  void: ['unauthenticated', 'The header Authorization holds no bearer token that is valid.'],
  'no-token': ['unauthenticated', 'The header Authorization holds no bearer token that is valid.'],
  'unknown-tenant': ['not-found', 'There is no such tenant.'],
  conflict: ['tenant-conflict', 'The API key, the bearer token, the host name and X-Tenant-ID do not all name the same tenant.'],
  suspended: ['tenant-suspended', 'This tenant is suspended; its data is kept. Ask those who run it to resume it.'],
} as const
