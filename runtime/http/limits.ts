import { TenantryError } from '../errors.ts'
import type { Admission } from '../limits/limiter.ts'

/** `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11): what the tenant may do, and what is left of it; none without a limit. */
export function limitHeaders({ rate, remaining }: Admission): Record<string, string> {
  if (rate === undefined) return {}
  const { perSecond, burst } = rate
  return {
    'ratelimit-policy': `"default";q=${burst};w=${Math.max(1, Math.ceil(burst / perSecond))}`,
    ratelimit: `"default";r=${remaining};t=${Math.ceil((burst - remaining) / perSecond)}`,
  }
}

/** What a caller is told whose request is not admitted. */
export function rateLimited({ refused, retryAfter }: Admission): TenantryError {
  return new TenantryError('rate-limited', DETAILS[refused ?? 'rate'], { retryAfter })
}

const DETAILS = {
  rate: 'The tenant sends more requests than its limit allows.',
  share: 'This caller takes most of what its tenant may send, and others of the tenant wait.',
  concurrency: 'The tenant has as many requests under way at once as its limit allows.',
} as const
