import type { Request, RequestHandler } from 'express'
import type { Feature } from '../features/feature.ts'
import type { QueryBus } from '../queries/bus.ts'
import type { StreamBus } from '../queries/stream.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { type CommandExecutor, commandHandlers } from './commands.ts'
import type { Exchange } from './exchange.ts'
import { type Health, healthEndpoints } from './health.ts'
import { commandOperation, type Endpoint, type Operation, queryOperation, streamOperation } from './openapi/operation.ts'
import { queryHandler } from './queries.ts'
import { selfDescription } from './self.ts'
import { streamHandler } from './streams.ts'

/** What the endpoints are made of. */
export type EndpointOptions = {
  features: readonly Feature[]
  commands: CommandExecutor
  queries: QueryBus
  streams: StreamBus
  health: Health
  readJson: RequestHandler
  enter: (request: Request) => Exchange
  authenticate: (exchange: Exchange) => Promise<TenantContext>
}

/** Everything that the API offers, and what it says of itself. Throws when something stands twice. */
export function endpointsOf(options: EndpointOptions): Endpoint[] {
  const offered = [
    ...healthEndpoints(options.health, options.enter),
    ...options.features.flatMap((feature) => featureEndpoints(feature, options)),
  ]
  const operations = offered.map(({ operation }) => operation)
  requireUnique(operations)
  return [...offered, ...selfDescription(operations, options.enter)]
}

function featureEndpoints(feature: Feature, { commands, queries, streams, enter, authenticate, readJson }: EndpointOptions): Endpoint[] {
  return [
    ...feature.queries.map((query) => ({
      operation: queryOperation(query, feature.name),
      handlers: [queryHandler(query, queries, enter, authenticate)],
    })),
    ...(feature.streams ?? []).map((query) => ({
      operation: streamOperation(query, feature.name),
      handlers: [streamHandler(query, streams, enter, authenticate)],
    })),
    ...feature.commands.map((command) => ({
      operation: commandOperation(command, feature.name),
      handlers: commandHandlers(command, commands, enter, authenticate, readJson),
    })),
  ]
}

function requireUnique(operations: readonly Operation[]): void {
  const seen = new Set<string>()
  for (const { method, path } of operations) {
    if (seen.has(`${method} ${path}`)) throw new Error(`${method} ${path} is declared twice`)
    seen.add(`${method} ${path}`)
  }
}
