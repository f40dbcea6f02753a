import type { Feature } from '../features/feature.ts'
import type { QueryBus } from '../queries/bus.ts'
import type { StreamBus } from '../queries/stream.ts'
import type { ReadJson } from './body.ts'
import { type CommandExecutor, commandHandler } from './commands.ts'
import { type Health, healthEndpoints } from './health.ts'
import { type Authenticate, commandOperation, type Endpoint, type Operation, queryOperation, streamOperation } from './openapi/operation.ts'
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
  readJson: ReadJson
  authenticate: Authenticate
}

/** Everything that the API offers, and what it says of itself. Throws when something stands twice. */
export function endpointsOf(options: EndpointOptions): Endpoint[] {
  const offered = [...healthEndpoints(options.health), ...options.features.flatMap((feature) => featureEndpoints(feature, options))]
  const operations = offered.map(({ operation }) => operation)
  requireUnique(operations)
  return [...offered, ...selfDescription(operations)]
}

function featureEndpoints(feature: Feature, { commands, queries, streams, authenticate, readJson }: EndpointOptions): Endpoint[] {
  return [
    ...feature.queries.map((query) => ({
      operation: queryOperation(query, feature.name),
      handle: queryHandler(query, queries, authenticate),
    })),
    ...(feature.streams ?? []).map((query) => ({
      operation: streamOperation(query, feature.name),
      handle: streamHandler(query, streams, authenticate),
    })),
    ...feature.commands.map((command) => ({
      operation: commandOperation(command, feature.name),
      handle: commandHandler(command, commands, authenticate, readJson),
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
