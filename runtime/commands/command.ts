import type { z } from 'zod'
import type { Statement } from '../shards/statement.ts'

/** Where a command stands in the HTTP API; data, so that http/ mounts every feature's commands the same way. */
export type CommandRoute = { method: 'POST' | 'PATCH' | 'DELETE'; path: string; status: 200 | 201 | 204 }

/** What decide makes of a command: a fact, without the numbers that only the commit gives it. */
export type NewEvent = { type: string; data: Record<string, unknown> }

/** What the domain may know of the world. */
export type Moment = { now: Date; id: string }

/** A thing that commands change: how it is read, how events change it, how it is written, what callers see of it. */
export type Aggregate<State> = {
  /** The singular name, also the second word of the event's subject. */
  name: string
  load: (tenantUid: string, id: string) => Statement
  /** Turns the row of `load` into state. */
  read: (row: Record<string, unknown>) => { state: State; version: number }
  evolve: (state: State | null, event: NewEvent) => State | null
  /** Writes a batch: see commands/save. */
  save: (tenantUid: string, epoch: number, changes: readonly Change<State>[]) => Statement
  /** The JSON a caller is answered with: the same bytes as the query of the same state gives. */
  render: (state: State, version: number) => string
}

/** One decided command: the state before is at `version` (0: not there), `after` is null when it was deleted. */
export type Change<State> = { id: string; version: number; after: State | null; events: readonly (NewEvent & { id: string })[]; now: Date }

/** One kind of command. `decide` is pure: it gives events or throws a TenantryError. */
export type Command<Input, State> = {
  name: string
  route: CommandRoute
  /** Parses path parameters and body as one object, strictly. */
  input: z.ZodType<Input>
  aggregate: Aggregate<State>
  /** The id of the aggregate it is about; undefined: a new one. */
  target: (input: Input) => string | undefined
  decide: (input: Input, state: State | null, moment: Moment) => NewEvent[]
}

/** What a caller learns of a command that was committed. */
export type Outcome = {
  id: string
  version: number
  /** The tenant's position after the command: every read that has reached it sees the command. */
  position: number
  /** JSON of the aggregate, or undefined when it was deleted. */
  body: string | undefined
}

/** What a caller may ask for besides the command itself. */
export type CommandOptions = {
  /** From `If-Match`: the command is refused with `precondition-failed` at any other version. */
  expectedVersion?: number
  signal: AbortSignal
}
