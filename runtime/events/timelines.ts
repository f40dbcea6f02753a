import type { Log } from '../../config/log.ts'
import type { Session, Tenant } from '../shards/session.ts'
import { findTimeline } from '../shards/timeline.ts'
import type { Jetstream } from './jetstream.ts'
import { takeBack } from './take-back.ts'

export type TimelineOptions = {
  session: Pick<Session, 'poll' | 'read'>
  jetstream: Pick<Jetstream, 'isConnected' | 'last' | 'remove' | 'note' | 'notes'>
  /** None before all of the routing config is known. */
  shards: () => Iterable<string>
  tenants: () => Iterable<Tenant>
  /** Makes good what else depends on the database: what was acknowledged to the stream may be undone. */
  settle: (tenant: Tenant) => Promise<void>
  /** A Shard may have forgotten what it knew so many milliseconds ago. */
  onRewind: (agoMs: number) => void
  log: Log
  /** Milliseconds between two looks. */
  every?: number
}

/** What the stream notes of a Shard: the timeline that it has events of, since when (milliseconds since 1970), and whether all of them are. */
type Note = { timeline: string; since: number; settled: boolean }

type ShardState = { timeline: string; unsettled: Map<string, Tenant>; retryAt: number }

const RETRY = 5_000

/**
 * Watches for Shards whose database was set back: restored from a backup, or replaced by a standby that was behind. NATS is then ahead of
 * it, which the stream tells, since it has noted the timeline that its events are of. Until those that the database does not know have been
 * taken out, tenant by tenant, no event of the tenant is relayed.
 */
export class Timelines {
  readonly #options: TimelineOptions
  readonly #shards = new Map<string, ShardState>()
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> | undefined
  #isStopped = false

  constructor(options: TimelineOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#look(), options.every ?? 1_000)
    this.#look()
  }

  /** The timeline on which the tenant's events may be relayed; undefined: none for now. */
  of({ uid, route }: Tenant): string | undefined {
    const state = this.#shards.get(route.shard)
    return state === undefined || state.unsettled.has(uid) ? undefined : state.timeline
  }

  /** Ends when what is under way is done. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await this.#looking
  }

  #look(): void {
    if (!this.#options.jetstream.isConnected) return
    this.#looking ??= this.#lookAtAll().finally(() => {
      this.#looking = undefined
    })
  }

  async #lookAtAll(): Promise<void> {
    const complain = (shard: string, error: unknown) => this.#options.log.debug({ shard, error }, 'cannot look for the timeline')
    await Promise.all([...this.#options.shards()].map((shard) => this.#lookAt(shard).catch((error: unknown) => complain(shard, error))))
  }

  async #lookAt(shard: string): Promise<void> {
    const [row] = await this.#options.session.poll(shard, findTimeline)
    const timeline = String(row?.timeline)
    const known = this.#shards.get(shard)
    const state = known?.timeline === timeline ? known : await this.#enter(shard, timeline)
    if (state.unsettled.size > 0 && Date.now() >= state.retryAt) await this.#settle(shard, state)
  }

  /** From here on nothing is relayed on the timeline before. */
  async #enter(shard: string, timeline: string): Promise<ShardState> {
    this.#shards.delete(shard)
    const { jetstream, tenants, onRewind, log } = this.#options
    const before = parse((await jetstream.notes())[keyOf(shard)])
    const isNew = before?.timeline !== timeline
    const note = isNew ? { timeline, since: Date.now(), settled: false } : before
    if (isNew) await jetstream.note(keyOf(shard), format(note))
    if (isNew && before !== undefined) log.warn({ shard, timeline, before: before.timeline }, 'the database may have been set back')
    // A stream that knew nothing of the Shard is new, as a rule with all else.
    if (!isNew || before !== undefined) onRewind(Date.now() - note.since)
    const mine = note.settled ? [] : [...tenants()].filter(({ route }) => route.shard === shard)
    const state = { timeline, unsettled: new Map(mine.map((tenant) => [tenant.uid, tenant])), retryAt: 0 }
    this.#shards.set(shard, state)
    if (mine.length === 0 && !note.settled) await this.#conclude(shard, timeline)
    return state
  }

  async #settle(shard: string, state: ShardState): Promise<void> {
    const { session, jetstream, settle, log } = this.#options
    for (const [uid, tenant] of state.unsettled) {
      if (this.#isStopped) return
      try {
        const taken = await takeBack(session, jetstream, tenant)
        if (taken > 0) log.warn({ shard, tenant: uid, taken }, 'events that the database does not know were taken out of the stream')
        await settle(tenant)
        state.unsettled.delete(uid)
      } catch (error) {
        log.warn({ shard, tenant: uid, error }, 'what the stream has of a tenant could not be looked at; trying again')
      }
    }
    state.retryAt = Date.now() + RETRY
    if (state.unsettled.size === 0) await this.#conclude(shard, state.timeline)
  }

  async #conclude(shard: string, timeline: string): Promise<void> {
    const { jetstream } = this.#options
    const note = parse((await jetstream.notes())[keyOf(shard)])
    if (note?.timeline === timeline) await jetstream.note(keyOf(shard), format({ ...note, settled: true }))
  }
}

function keyOf(shard: string): string {
  return `timeline.${shard}`
}

function format({ timeline, since, settled }: Note): string {
  return `${timeline} ${since} ${settled ? 'settled' : 'begun'}`
}

function parse(text: string | undefined): Note | undefined {
  const [timeline, since, state] = text?.split(' ') ?? []
  return timeline === undefined ? undefined : { timeline, since: Number(since), settled: state === 'settled' }
}
