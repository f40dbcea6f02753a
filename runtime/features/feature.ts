import type { AnyCommand } from '../commands/command.ts'
import type { AnyReference } from '../commands/reference.ts'
import type { Projection, StoredEvent } from '../projections/projection.ts'
import type { Query } from '../queries/query.ts'
import type { AnyStreamQuery } from '../queries/stream.ts'
import type { Retention } from '../retention/retention.ts'
import type { Exported } from './exported.ts'

/** A feature is a folder that exports one of these, and one line in main.ts. */
export type Feature = {
  name: string
  commands: readonly AnyCommand[]
  // biome-ignore lint/suspicious/noExplicitAny: each query has its own input; the bus pairs them
  queries: readonly Query<any>[]
  /** What is answered piece by piece; left out: nothing. */
  streams?: readonly AnyStreamQuery[]
  projections: readonly Projection[]
  /** What of it refers to things of other features; left out: nothing. */
  references?: readonly AnyReference[]
  /** What of it an export of the tenant holds; left out: nothing. */
  exports?: readonly Exported[]
  /** What of it the settings may keep for some days only; left out: nothing. */
  retentions?: readonly Retention[]
  /** The cache keys that an event makes stale. */
  invalidates: (event: Pick<StoredEvent, 'type' | 'aggregateId'>) => readonly string[]
}
