import type { Request, RequestHandler } from 'express'
import type { AnyStreamQuery, StreamBus } from '../queries/stream.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { Exchange } from './exchange.ts'
import { parse, readQuery } from './input.ts'

/** Answers one stream over HTTP: 200 and its pieces, each made when the client has taken the one before. */
export function streamHandler(
  query: AnyStreamQuery,
  bus: StreamBus,
  enter: (request: Request) => Exchange,
  authenticate: (exchange: Exchange) => TenantContext | Promise<TenantContext>,
): RequestHandler {
  return async (request) => {
    const exchange = enter(request)
    exchange.route = query.route.path
    const tenant = await authenticate(exchange)
    const input: unknown = parse(query.input, readQuery(request.url, request.params))
    await exchange.stream({ 'content-type': query.type }, bus.open(tenant, query.name, input, exchange.signal))
  }
}
