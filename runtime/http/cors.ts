import type { IncomingMessage } from 'node:http'
import type { Route } from '../../config/routing.ts'
import { type MayAsk, mayRead } from '../identity/origins.ts'
import { evidenceOf } from './tenant.ts'

/** What pages of other origins may send besides what browsers always let them. */
const SENT = 'Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-API-Key, X-Request-ID, X-Tenant-ID'

/** What they may read besides the body and what browsers always show. */
const SHOWN = 'ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID'

/** Browsers ask again after so many seconds. */
const MAX_AGE = '600'

const ASKED_BY = { vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers' } as const
const BY_ORIGIN = { vary: 'Origin' } as const

/**
 * What an answer of a tenant says to the browser that asked (Fetch, 3.2): the page may read it when the tenant lists its origin. Credentials are
 * sent by the page itself, in headers, so that no cookie is ever meant, and none is let through.
 */
export function originHeaders({ headers }: IncomingMessage, route: Pick<Route, 'settings'>): Record<string, string> {
  const { origin } = headers
  if (origin === undefined || !mayRead(origin, route)) return BY_ORIGIN
  return { ...BY_ORIGIN, 'access-control-allow-origin': origin, 'access-control-expose-headers': SHOWN }
}

/** The answer to a browser that asks before it sends a page's request; `methods` are those of the path. Any other OPTIONS is told nothing of it. */
export function preflightHeaders(request: IncomingMessage, methods: string, mayAsk: MayAsk): Record<string, string> {
  const { origin, 'access-control-request-method': method } = request.headers
  if (origin === undefined || method === undefined || !mayAsk(origin, evidenceOf(request))) return ASKED_BY
  return {
    ...ASKED_BY,
    'access-control-allow-origin': origin,
    'access-control-allow-methods': methods,
    'access-control-allow-headers': SENT,
    'access-control-max-age': MAX_AGE,
  }
}
