import type { AnyStreamQuery, StreamBus } from '../queries/stream.ts'
import { parse, readQuery } from './input.ts'
import type { Authenticate, Handler } from './openapi/operation.ts'

/** Answers one stream over HTTP: 200 and its pieces, each made when the client has taken the one before. */
export function streamHandler(query: AnyStreamQuery, bus: StreamBus, authenticate: Authenticate): Handler {
  return async (exchange, parameters) => {
    const tenant = await authenticate(exchange)
    const input: unknown = parse(query.input, readQuery(exchange.request.url ?? '', parameters))
    await exchange.stream({ 'content-type': query.type }, bus.open(tenant, query.name, input, exchange.signal))
  }
}
