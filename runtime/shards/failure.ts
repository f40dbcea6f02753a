import { DatabaseError } from 'pg'
import { TenantryError } from '../errors.ts'
import { DependencyDown } from '../resilience/breaker.ts'
import { DeadlineExceeded } from '../resilience/deadline.ts'

/** No connection could be made: nothing was tried. */
export class Unreachable extends Error {
  constructor(cause: unknown) {
    super('the shard cannot be connected to', { cause })
    this.name = 'Unreachable'
  }
}

/** The connection ended before the answer: whether the work was done is unknown. */
export class ConnectionLost extends Error {
  constructor(cause: unknown) {
    super('the connection to the shard was lost', { cause })
    this.name = 'ConnectionLost'
  }
}

const RETRY_AFTER = 1

/** The server is going down, coming up, or takes no more connections. */
const UNAVAILABLE = ['57P01', '57P02', '57P03', '57P05', '53300', '28000', '28P01', '3D000']
/** A statement or lock took longer than it may, or a transaction was left open. */
const TOO_SLOW = ['57014', '55P03', '25P03', '25P04', '40P01']
/** The role or schema is not there, or no longer ours: the tenant is being moved or removed, and routing will say so. */
const GONE = ['22023', '42501', '3F000', '42P01']

/** The server has answered, and does not let this login in, or not so often. */
const NOT_LET_IN = ['28000', '28P01', '3D000', '42501', '53300']

/**
 * True for what says that the Shard itself is away. A connection that ended does not: the attempt at the next one will tell. Nor does a login
 * that is refused: it may be that of one tenant, and all others of the Shard stand behind the same breaker.
 */
export function isAway(error: unknown): boolean {
  if (error instanceof Unreachable) return !(error.cause instanceof DatabaseError && NOT_LET_IN.includes(error.cause.code ?? ''))
  return error instanceof DeadlineExceeded
}

/** True for what another attempt may not meet, and false for all that a living server has answered to the work itself. */
function isUnavailable(error: unknown): boolean {
  if (isAway(error) || error instanceof Unreachable || error instanceof ConnectionLost) return true
  return error instanceof DatabaseError && error.code !== undefined && (UNAVAILABLE.includes(error.code) || error.code.startsWith('08'))
}

/** True when Postgres itself refused, so that nothing has happened. */
export function isRefusal(error: unknown): boolean {
  return error instanceof DatabaseError && !isUnavailable(error)
}

/** What a caller is told; the cause, which may hold SQL and physical names, is for the log. */
export function toTenantryError(error: unknown): unknown {
  // With its last words Postgres has said why it ended the connection.
  if (error instanceof ConnectionLost && error.cause instanceof DatabaseError) return toTenantryError(error.cause)
  if (error instanceof DependencyDown) {
    return new TenantryError('shard-unavailable', 'The database of this tenant cannot be reached.', {
      retryAfter: error.retryAfter,
      cause: error,
    })
  }
  if (isUnavailable(error)) {
    return new TenantryError('shard-unavailable', 'The database of this tenant cannot be reached.', {
      retryAfter: RETRY_AFTER,
      cause: error,
    })
  }
  if (!(error instanceof DatabaseError) || error.code === undefined) return error
  if (TOO_SLOW.includes(error.code)) {
    return new TenantryError('overloaded', 'The database took too long.', { retryAfter: RETRY_AFTER, cause: error })
  }
  if (GONE.includes(error.code)) {
    return new TenantryError('shard-unavailable', "The tenant's place is being changed.", { retryAfter: RETRY_AFTER, cause: error })
  }
  return new TenantryError('internal', 'Something went wrong.', { cause: error })
}
