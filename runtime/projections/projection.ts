import type { Statement } from '../shards/statement.ts'

/** An event as the table keeps it and NATS carries it. */
export type StoredEvent = {
  tenantUid: string
  position: number
  id: string
  type: string
  aggregateId: string
  aggregateVersion: number
  data: Record<string, unknown>
  /** RFC 3339, milliseconds, UTC. */
  time: string
}

/** A read model made of events: pure, from events to the statements that bring the model from one position to the next. */
export type Projection = {
  name: string
  /** The events in order, without a gap; the statements run in the checkpoint's transaction. */
  apply: (tenantUid: string, events: readonly StoredEvent[]) => Statement[]
}
