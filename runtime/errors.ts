/** Everything a caller can be told, by its stable code: the last part of the problem's `type`. README's table is held to it. */
export const ERRORS = {
  'invalid-request': 400,
  'tenant-conflict': 400,
  unauthenticated: 401,
  forbidden: 403,
  'tenant-suspended': 403,
  'not-found': 404,
  'method-not-allowed': 405,
  conflict: 409,
  'precondition-failed': 412,
  'payload-too-large': 413,
  'unsupported-media-type': 415,
  'idempotency-mismatch': 422,
  'rate-limited': 429,
  'quota-exceeded': 429,
  internal: 500,
  'shard-unavailable': 503,
  overloaded: 503,
} as const satisfies Record<string, number>

/** A code out of `ERRORS`. */
export type ErrorCode = keyof typeof ERRORS

/** One place of the input and what would be right there. */
export type Fault = { field: string; message: string }

/** What a credential failed by, in the words of RFC 6750, 3.1. */
export type Challenge = { error: 'invalid_token' } | { error: 'insufficient_scope'; scope: string }

/**
 * An error whose code, message and faults are fit for a caller's eyes: no SQL, no physical name, no other tenant's data.
 * What really happened travels in `cause`, for the log.
 */
export class TenantryError extends Error {
  readonly code: ErrorCode
  readonly faults: readonly Fault[]
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number | undefined
  readonly challenge: Challenge | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { faults?: readonly Fault[]; retryAfter?: number; challenge?: Challenge; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'TenantryError'
    this.code = code
    this.faults = options.faults ?? []
    this.retryAfter = options.retryAfter
    this.challenge = options.challenge
  }
}
