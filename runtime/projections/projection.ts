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

/** Of a read model there may be two: the one that is asked, and its snapshot, in tables whose names have that ending. */
export type Copy = '' | '_snapshot'

/** A read model made of events: pure, from events to the statements that bring the model from one position to the next. */
export type Projection = {
  name: string
  /** The tables it is made of; each has a twin for the snapshot, with the same columns. */
  tables: readonly string[]
  /** The events in order, without a gap; the statements run in the transaction that moves the model's position. */
  apply: (tenantUid: string, events: readonly StoredEvent[], copy: Copy) => Statement[]
}
