import type { Client } from '../kubernetes/client.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { TenantFacts } from '../postgres/catalog.ts'
import type { Database } from '../postgres/connect.ts'
import type { Connections } from '../postgres/connections.ts'
import type { Migrations } from '../postgres/migrations.ts'
import type { Physical, ShardNames } from '../postgres/names.ts'
import type { TenantIdentity } from '../postgres/statements.ts'
import type { RoutingPublisher } from '../routing/publish.ts'
import type { LastWrites } from './last-writes.ts'
import type { Occupancy } from './occupancy.ts'

/** What the steps work with. */
export type TenantTools = {
  client: Client
  connections: Connections
  routing: RoutingPublisher
  occupancy: Occupancy
  writes: LastWrites
  recorder: Recorder
  migrations: Migrations
}

/** One tenant on its Shard, and what the steps work with. */
export type Target = {
  tools: TenantTools
  shard: string
  names: ShardNames
  identity: TenantIdentity
  physical: Physical
  facts: TenantFacts
  database: Pick<Database, 'query' | 'run'>
  signal: AbortSignal
}
