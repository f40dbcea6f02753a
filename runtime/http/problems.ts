import { z } from 'zod'
import { type Challenge, ERRORS, type ErrorCode, type Fault, TenantryError } from '../errors.ts'
import { PROBLEM_TYPES, problemType } from './problem-types.ts'

/** A problem document (RFC 9457) as callers read it; `errors` names the places of the input that are at fault. */
export const problemSchema = z
  .strictObject({
    type: z
      .string()
      .meta({ format: 'uri-reference', description: 'What kind of problem it is, for programs: the path of the page that explains it.' }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    requestId: z.string().meta({ description: 'Also in the header X-Request-ID and in the log.' }),
    errors: z.array(z.strictObject({ field: z.string(), message: z.string() })).optional(),
  })
  .meta({ title: 'Problem', description: 'A problem document (RFC 9457).' })

/** A problem document. */
export type Problem = z.infer<typeof problemSchema>

/** A problem document and how it is sent. */
export type Refusal = { status: number; headers: Record<string, string>; body: string }

/** Writes `error` as a problem document: its own words, and nothing of its cause. */
export function toProblem(error: TenantryError, requestId: string, headers: Record<string, string> = {}): Refusal {
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
): Refusal {
  const document: Problem = {
    type: problemType(code),
    title: PROBLEM_TYPES[code].title,
    status,
    detail,
    requestId,
    ...(faults.length > 0 ? { errors: [...faults] } : {}),
  }
  return { status, headers: { ...headers, 'content-type': 'application/problem+json' }, body: JSON.stringify(document) }
}

function hints(error: TenantryError): Record<string, string> {
  const headers: Record<string, string> = {}
  if (ERRORS[error.code] === 503 || ERRORS[error.code] === 429)
    headers['retry-after'] = String(Math.max(1, Math.ceil(error.retryAfter ?? 1)))
  const bearer = error.challenge === undefined ? 'Bearer' : `Bearer ${parametersOf(error.challenge)}`
  if (error.code === 'unauthenticated') headers['www-authenticate'] = `ApiKey header="X-API-Key", ${bearer}`
  else if (error.challenge !== undefined) headers['www-authenticate'] = bearer
  return headers
}

function parametersOf(challenge: Challenge): string {
  return Object.entries(challenge)
    .map(([name, value]) => `${name}="${value}"`)
    .join(', ')
}

/**
 * Turns whatever was thrown into an error for callers. What the body parser throws carries a status and a `type`;
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
  // What is left of 400: a body shorter than announced, a broken compression.
  if (status === 400) return new TenantryError('invalid-request', 'The request cannot be read as it was sent.')
  return undefined
}
