import { ERRORS, type ErrorCode, type Fault, TenantryError } from '../errors.ts'

/** A problem's `type` is this and its code: a stable address, where the code is explained. */
const PROBLEM_BASE = 'https://tenantry.dev/problems/'

/** A problem document (RFC 9457) and how it is sent. */
export type Problem = { status: number; headers: Record<string, string>; body: string }

const TITLES: Record<ErrorCode, string> = {
  'invalid-request': 'The request is not valid',
  'tenant-conflict': 'The request names more than one tenant',
  unauthenticated: 'A valid API key is needed',
  'tenant-suspended': 'The tenant is suspended',
  'not-found': 'There is no such thing',
  'method-not-allowed': 'This method is not offered here',
  conflict: 'The request does not fit the present state',
  'precondition-failed': 'It has been changed in the meantime',
  'payload-too-large': 'The body is too large',
  'unsupported-media-type': 'The body must be JSON',
  'quota-exceeded': 'There is no room for more',
  internal: 'Something went wrong on our side',
  'shard-unavailable': "The tenant's database cannot be reached",
  overloaded: 'Too much to do at the moment',
}

/** Writes `error` as a problem document: its own words, and nothing of its cause. */
export function toProblem(error: TenantryError, requestId: string, headers: Record<string, string> = {}): Problem {
  const status = ERRORS[error.code]
  return problem(error.code, status, error.message, requestId, error.faults, { ...headers, ...hints(error) })
}

/** A problem document from its parts; `status` may be a closer one than the code's own (431, 408). */
export function problem(
  code: ErrorCode,
  status: number,
  detail: string,
  requestId: string,
  faults: readonly Fault[] = [],
  headers: Record<string, string> = {},
): Problem {
  const document = {
    type: `${PROBLEM_BASE}${code}`,
    title: TITLES[code],
    status,
    detail,
    requestId,
    ...(faults.length > 0 ? { errors: faults } : {}),
  }
  return { status, headers: { ...headers, 'content-type': 'application/problem+json' }, body: JSON.stringify(document) }
}

function hints(error: TenantryError): Record<string, string> {
  const headers: Record<string, string> = {}
  if (ERRORS[error.code] === 503 || ERRORS[error.code] === 429)
    headers['retry-after'] = String(Math.max(1, Math.ceil(error.retryAfter ?? 1)))
  if (error.code === 'unauthenticated') headers['www-authenticate'] = 'ApiKey header="X-API-Key"'
  return headers
}

/**
 * Turns whatever was thrown into an error for callers. What express and its body parser throw carries a status and a `type`;
 * everything that is not known is `internal`, with the thrown thing as its cause.
 */
export function toTenantryError(thrown: unknown): TenantryError {
  if (thrown instanceof TenantryError) return thrown
  if (!(thrown instanceof Error)) return new TenantryError('internal', 'The request could not be answered.', { cause: thrown })
  const status = 'status' in thrown && typeof thrown.status === 'number' ? thrown.status : 500
  const type = 'type' in thrown && typeof thrown.type === 'string' ? thrown.type : ''
  return fromParser(type, status) ?? new TenantryError('internal', 'The request could not be answered.', { cause: thrown })
}

function fromParser(type: string, status: number): TenantryError | undefined {
  if (status === 413) return new TenantryError('payload-too-large', 'Send a smaller body.')
  if (status === 415)
    return new TenantryError('unsupported-media-type', 'Send the body as JSON in UTF-8, plain or with gzip, deflate or br.')
  if (type === 'entity.parse.failed') {
    return new TenantryError('invalid-request', 'The body is not valid JSON.', {
      faults: [{ field: 'body', message: 'must be a JSON object' }],
    })
  }
  // What is left of 400: a path that cannot be decoded, a body shorter than announced, a broken compression.
  if (status === 400) return new TenantryError('invalid-request', 'The request cannot be read as it was sent.')
  return undefined
}
