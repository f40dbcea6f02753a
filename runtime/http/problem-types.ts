import type { ErrorCode } from '../errors.ts'
import type { Operation } from './openapi/operation.ts'

/** What is told of one kind of problem, in its document, on its page and in the README. */
export type ProblemType = {
  title: string
  /** What it means, and what to do: README's table is held to it. */
  meaning: string
  /** What an example of it says in `detail`. */
  detail: string
  /** Which operations may answer so. */
  on: (operation: Operation) => boolean
}

const always = (): boolean => true
const never = (): boolean => false
const ofTenant = ({ access }: Operation): boolean => access !== 'public'
/** What is the same for everybody is at hand; all else waits for a database. */
const waiting = (operation: Operation): boolean => ofTenant(operation) || operation.answers.some(({ status }) => status === 503)
const onCommand = ({ isCommand }: Operation): boolean => isCommand
const scoped = ({ access }: Operation): boolean => access !== 'public' && access !== 'any'
const onGrowth = ({ grows = false }: Operation): boolean => grows

/** Every kind of problem. */
export const PROBLEM_TYPES: Readonly<Record<ErrorCode, ProblemType>> = {
  'invalid-request': {
    title: 'The request is not valid',
    meaning: 'Unknown field, wrong type, too long, bad JSON. `errors` names each field and what would be right there.',
    detail: 'The input is not valid; see errors.',
    on: always,
  },
  'tenant-conflict': {
    title: 'The request names more than one tenant',
    meaning: 'Key, token, host name and `X-Tenant-ID` name different tenants. Send only what belongs together.',
    detail: 'The API key, the bearer token, the host name and X-Tenant-ID do not all name the same tenant.',
    on: ofTenant,
  },
  unauthenticated: {
    title: 'A valid API key or bearer token is needed',
    meaning: 'No credential, or one that is not valid (any more). Send an API key in `X-API-Key` or a token in `Authorization: Bearer`.',
    detail: 'The API key is not valid, or its time is over.',
    on: ofTenant,
  },
  forbidden: {
    title: 'The credential may not do this',
    meaning: 'The credential may not do this; `detail` and `errors` name the scope that it lacks.',
    detail: 'This needs the scope tasks:write, which the credential does not have.',
    on: scoped,
  },
  'tenant-suspended': {
    title: 'The tenant is suspended',
    meaning: 'The tenant is suspended or its subscription has ended; its data is kept. See "Suspending".',
    detail: 'This tenant is suspended; its data is kept. Ask those who run it to resume it.',
    on: ofTenant,
  },
  'not-found': {
    title: 'There is no such thing',
    meaning: "There is no such thing for this tenant: another tenant's id looks the same as one that never was.",
    detail: 'There is no such thing, or it is not yours.',
    // Also of the whole tenant, where a gateway names one that nobody knows.
    on: (operation) => ofTenant(operation) || operation.path.includes('{'),
  },
  'method-not-allowed': {
    title: 'This method is not offered here',
    meaning: 'The path has other methods: see `Allow`.',
    detail: 'Offered here: GET, HEAD, OPTIONS, POST.',
    on: never,
  },
  conflict: {
    title: 'The request does not fit the present state',
    meaning: 'It cannot be done to the thing as it is now, such as completing a task twice.',
    detail: 'The task is completed.',
    on: onCommand,
  },
  'precondition-failed': {
    title: 'It has been changed in the meantime',
    meaning: 'It has changed since you read it (`If-Match`). Read it again.',
    detail: 'It has changed since you read it. Read it again.',
    on: onCommand,
  },
  'payload-too-large': {
    title: 'The body is too large',
    meaning: 'The body is larger than `TENANTRY_BODY_LIMIT_BYTES`.',
    detail: 'Send a smaller body.',
    on: onCommand,
  },
  'unsupported-media-type': {
    title: 'The body must be JSON',
    meaning: 'The body must be JSON in UTF-8.',
    detail: 'Send the body as application/json.',
    on: onCommand,
  },
  'idempotency-mismatch': {
    title: 'The Idempotency-Key stands for another request',
    meaning: 'This `Idempotency-Key` was used for a request with other content. Use a new one for each request that is not a retry.',
    detail: 'This Idempotency-Key was used before, for a request with other content.',
    on: onCommand,
  },
  'rate-limited': {
    title: 'Too many requests',
    meaning:
      'The tenant sends more requests than its limit allows, or has too many under way at once. Try again after `Retry-After` seconds; `RateLimit` says what is left.',
    detail: 'The tenant sends more requests than its limit allows.',
    on: ofTenant,
  },
  'quota-exceeded': {
    title: 'There is no room for more',
    meaning:
      'The tenant has as many as its limit allows, or as much data: `detail` says which limit. Delete some, or have the limit raised.',
    detail: 'This tenant may have 10000 tasks, and has 10000. Delete some, or ask those who run it for a higher limit.',
    on: onGrowth,
  },
  internal: {
    title: 'Something went wrong on our side',
    meaning: "A fault of ours. The log has the cause under the answer's `requestId`.",
    detail: 'The request could not be answered.',
    on: ofTenant,
  },
  'shard-unavailable': {
    title: "The tenant's database cannot be reached",
    meaning: "The tenant's database does not answer. Try again after `Retry-After` seconds; tenants of other Shards do not notice.",
    detail: "The tenant's database does not answer.",
    on: ofTenant,
  },
  overloaded: {
    title: 'Too much to do at the moment',
    meaning: 'Too much to do in time. Try again after `Retry-After` seconds.',
    detail: 'The answer took too long.',
    on: waiting,
  },
}

/** A problem's `type`: the path of the page that explains it, on whatever host the API is (RFC 9457, 3.1.1), and so the same everywhere. */
export function problemType(code: string): string {
  return `/docs/problems/${code}`
}
