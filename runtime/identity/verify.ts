import { hash } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import { LRUCache } from 'lru-cache'
import type { Log } from '../../config/log.ts'
import type { Issuer, Route } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import { type Principal, parseScopes } from '../tenancy/identify.ts'
import { KeysUnavailable } from './fetch-keys.ts'
import { KeySets } from './key-sets.ts'
import { type ReadToken, readToken } from './token.ts'

/** Whose a token is. `void`: nobody's, whatever the routing config says; `unknown`: a newer one may say otherwise. */
export type Verdict = Principal | 'void' | 'unknown'

/** Verifies bearer tokens; at once where the same token was verified before. Throws `overloaded` when the provider's keys cannot be read. */
export type VerifyToken = (token: string, byId: ReadonlyMap<string, Route>) => Verdict | Promise<Verdict>

type Verified = { principal: Principal; expiresAt: number }

const MOST_TOKENS = 10_000

/** How far the provider's clock may be ahead of ours, in seconds. A token's end is kept to by our own clock. */
const CLOCK_SKEW = 5

/**
 * A token is verified with what the tenant that it names has pinned: issuer, audiences, algorithms and keys, and none of another
 * tenant's. What was verified is remembered by the token's hash, until it ends or the tenant's route changes.
 */
export function createVerifyToken(log: Log, keySets = new KeySets()): VerifyToken {
  const verified = new LRUCache<string, Verified>({ max: MOST_TOKENS })

  const verify = async (token: string, digest: string, read: ReadToken, route: Route, issuer: Issuer): Promise<Verdict> => {
    try {
      await jwtVerify(token, keySets.of(route), {
        issuer: issuer.issuer,
        audience: issuer.audiences,
        algorithms: issuer.algorithms,
        clockTolerance: CLOCK_SKEW,
      })
    } catch (error) {
      return refused(error, route, log)
    }
    const principal = { route, caller: read.caller, scopes: parseScopes(read.scopes) }
    verified.set(digest, { principal, expiresAt: read.expiresAt })
    return principal
  }

  return (token, byId) => {
    const digest = hash('sha256', token, 'base64url')
    const known = verified.get(digest)
    if (known !== undefined && known.expiresAt > Date.now() && byId.get(known.principal.route.id) === known.principal.route)
      return known.principal
    const read = readToken(token)
    if (read === undefined || read.expiresAt <= Date.now()) return 'void'
    const route = byId.get(read.tenantId)
    return route?.jwt === undefined ? 'unknown' : verify(token, digest, read, route, route.jwt)
  }
}

function refused(error: unknown, { id }: Route, log: Log): 'unknown' {
  if (error instanceof KeysUnavailable) {
    log.warn({ tenantId: id, error }, "an identity provider's keys cannot be read")
    throw new TenantryError('overloaded', "The identity provider's keys cannot be read at the moment.", { retryAfter: 5, cause: error })
  }
  // Other than a key set that cannot be used, which is for the tenant's owner to mend, it is the token's own fault.
  const reason = error instanceof errors.JOSEError ? error.code : String(error)
  log.info({ tenantId: id, reason }, 'a bearer token was refused')
  return 'unknown'
}
