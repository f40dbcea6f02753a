import { TenantryError } from '../errors.ts'
import type { Feature } from '../features/feature.ts'
import type { QueryBus } from '../queries/bus.ts'
import { entityTag, isKnown } from './conditions.ts'
import { parse, readQuery } from './input.ts'
import type { Authenticate, Handler } from './openapi/operation.ts'

/** Answers one query over HTTP: 200 with the bytes as Postgres built them, 304 when the caller has them, 404 when there is no such thing. */
export function queryHandler(query: Feature['queries'][number], bus: QueryBus, authenticate: Authenticate): Handler {
  return async (exchange, parameters) => {
    const { request } = exchange
    const tenant = await authenticate(exchange)
    const input: unknown = parse(query.input, readQuery(request.url ?? '', parameters))
    const answer = await bus.ask(tenant, query.name, input, query.cacheKey(input) === undefined ? exchange.signal : undefined)
    if (answer === undefined) throw new TenantryError('not-found', 'There is no such thing, or it is not yours.')
    if (answer.version === undefined) {
      exchange.reply(200, { 'content-type': 'application/json' }, answer.body)
      return
    }
    const etag = entityTag(answer.version)
    if (isKnown(request.headers['if-none-match'], etag)) exchange.replyEmpty(304, { etag, ...REVALIDATED })
    else exchange.reply(200, { 'content-type': 'application/json', etag, ...REVALIDATED }, answer.body)
  }
}

/** The caller's own cache may keep it and asks each time whether it still holds; no other may, nor use it for another credential. */
const REVALIDATED = { 'cache-control': 'private, no-cache', vary: 'Authorization, Origin, X-API-Key, X-Tenant-ID' } as const
