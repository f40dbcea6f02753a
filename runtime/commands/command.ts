import type { z } from 'zod'
import type { Quota, Scope } from '../../config/routing.ts'
import type { TenantryError } from '../errors.ts'
import type { Row, Statement } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'

/** Where a command stands in the HTTP API; data, so that http/ mounts every feature's commands the same way. */
export type CommandRoute = { method: 'POST' | 'PATCH' | 'DELETE'; path: string; status: 200 | 201 | 204 }

/**
 * What decide makes of a command: a fact, without the numbers that only the commit gives it. `personal` is what it tells of a person, for
 * evolve alone: no event is stored or published with it, so that a person's data stands in one row and can be erased there.
 */
export type NewEvent = { type: string; data: Record<string, unknown>; personal?: Record<string, unknown> }

/** What the domain may know of the world. `id` is for what is made. */
export type Moment = { now: Date; id: string }

/** Something that commands change, as it stands: `version` counts its events, `position` is that of the last one. */
export type Loaded<State> = { state: State; version: number; position: number }

/** A thing that commands change: how it is read, how events change it, how it is written, what callers see of it. */
export type Aggregate<State, Event extends NewEvent> = {
  /** The singular name, also the second word of the event's subject. */
  name: string
  /** The limit that says how many of them a tenant may have. */
  quota: Quota
  load: (tenantUid: string, id: string) => Statement
  /** Turns the row of `load` into state. */
  read: (row: Row) => Loaded<State>
  evolve: (state: State | null, event: Event) => State | null
  /**
   * Writes those changes whose version still holds, with their events, and nothing beyond `most`; a row
   * `{id, version, position, refusal, total}` for each of them. See events/store.
   */
  save: (tenantUid: string, epoch: number, changes: readonly Change<State>[], most: Most) => Statement
  /** What a caller is told of a change that was refused, by the name that `save` gives. */
  refusals?: Readonly<Record<string, () => TenantryError>>
  /** The JSON a caller is answered with: the same bytes as the query of the same state gives. */
  render: (state: State, version: number) => string
  /** The shape of that JSON; its `title` is the name in the OpenAPI document. */
  output: z.ZodType
}

/** How many of an aggregate a tenant may have, and how many bytes of data in all; null: any number. */
export type Most = { rows: number | null; bytes: number | null }

/** One decided command: the state before is at `version` (0: not there), `after` is null when it was deleted. */
export type Change<State> = {
  id: string
  version: number
  after: State | null
  events: readonly (Pick<NewEvent, 'type' | 'data'> & { id: string })[]
  time: string
  /** How many bytes of JSON it is larger after than before. */
  growth: number
  /** It is refused where the tenant has as much data as it may. Left out: it is not. */
  needsRoom?: boolean
  /** Left out: it goes along with another change, which tells. */
  asked?: Asked
}

/** What was asked, by whom, in which request: the audit log's line. `record`: under which key the answer is kept for retries, and what it is. */
export type Asked = { command: string; caller: string; requestId: string; record?: AnswerRecord & { body: string | null } }

/** The key of a caller's retries, and what tells whether it is the same request. */
export type AnswerRecord = { key: string; fingerprint: string }

/** One kind of command. `decide` is pure: it gives events, none when there is nothing to do, or throws a TenantryError. */
export type Command<Input, State, Event extends NewEvent> = {
  name: string
  /** What it does, in a few words for the document. */
  summary: string
  /** What the caller must be allowed to do. */
  scope: Scope
  route: CommandRoute
  /** Parses path parameters and body as one object, strictly. A path that can name nothing throws `not-found`. */
  input: z.ZodType<Input>
  aggregate: Aggregate<State, Event>
  /** Is there to add to what the tenant has: where that is as much as it may be, it is refused, unless it makes it no larger. */
  grows: boolean
  /** The id of the aggregate it is about; undefined: a new one. */
  target: (input: Input) => string | undefined
  decide: (input: Input, state: State | null, moment: Moment) => Event[]
}

/** Any command: its own parts fit each other, and the bus never mixes the parts of two. */
// biome-ignore lint/suspicious/noExplicitAny: input, state and event are each command's own business
export type AnyCommand = Command<any, any, any>

/** What a caller learns of a command that was committed. */
export type Outcome = {
  id: string
  version: number
  /** The tenant's position after the command: every read that has reached it sees the command. */
  position: number
  /** JSON of the aggregate, or undefined when it was deleted. */
  body: string | undefined
  /** True: an earlier request with the same `Idempotency-Key` has done it, and this is its answer. */
  replayed?: boolean
}

/** What a caller may ask for besides the command itself. */
export type CommandOptions = {
  /** From `If-Match` and `If-None-Match`: at a version that it does not accept the command is refused with `precondition-failed`. */
  accepts?: (version: number) => boolean
  /** From `Idempotency-Key`: of all requests with it, one takes effect. */
  idempotencyKey?: string
  /** Where the answer is to be kept; set by the bus. */
  record?: AnswerRecord
  /** Gives up what has not been sent to Postgres yet. */
  signal: AbortSignal
}

/** What a commit has made known; the relay and the caches listen. */
export type Committed = { type: string; aggregateId: string; position: number }

/** Is told of each commit, at once. */
export type OnCommit = (tenant: TenantContext, events: readonly Committed[]) => void
