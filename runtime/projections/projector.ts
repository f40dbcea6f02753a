import { channel } from 'node:diagnostics_channel'
import type { Log } from '../../config/log.ts'
import { parseCloudEvent } from '../events/cloud-event.ts'
import type { Jetstream, Message } from '../events/jetstream.ts'
import { Pace } from '../resilience/pace.ts'
import { findHeads } from '../shards/head.ts'
import type { Session, Tenant } from '../shards/session.ts'
import { catchUp } from './catch-up.ts'
import type { Projection } from './projection.ts'

/** Told on `tenantry:projection`: how many events of the Shard's tenants this replica has heard of and not projected yet. */
export type ProjectionLag = { projection: string; shard: string; events: number }

export type ProjectorOptions = {
  session: Session
  jetstream: Pick<Jetstream, 'consume' | 'whenNew'>
  projections: readonly Projection[]
  shards: () => Iterable<string>
  route: (tenantUid: string) => Tenant | undefined
  /** The tenants with a database of their own, whose heads no Shard's poll sees. */
  apart?: () => Iterable<Tenant>
  log: Log
}

const TENANTS_AT_ONCE = 2
const RETRY_AFTER = 250
const LONGEST_RETRY = 30_000
// Half an hour, for a tenant that no route leads to.
const MOST_DELIVERIES = 64
const lags = channel('tenantry:projection')

/**
 * Keeps the read models. Messages only say that something is there: a model and its checkpoint move together in Postgres, so
 * that lost, doubled and disordered messages do no harm, and a message is acknowledged when the commit has been.
 */
export class Projector {
  readonly #shards = new Map<string, ShardProjector>()
  readonly #options: ProjectorOptions
  readonly #unrouted = new Set<string>()
  #sweeping: Promise<void> = Promise.resolve()

  constructor(options: ProjectorOptions) {
    this.#options = options
    for (const projection of options.projections) {
      options.jetstream.consume(`projection-${projection.name}`, (message) => this.#receive(projection, message))
    }
    options.jetstream.whenNew(() => {
      this.#sweeping = this.#sweeping.then(() => this.#sweep())
    })
  }

  /** Ends when what is under way is done. What waits is delivered again, here or elsewhere. */
  async stop(): Promise<void> {
    await Promise.all([...this.#shards.values()].map((shard) => shard.stop()))
    await this.#sweeping
  }

  #receive(projection: Projection, message: Message): void {
    const event = parseCloudEvent(message.text)
    if (event === undefined) {
      this.#options.log.error({ projection: projection.name }, 'a message that is no event of ours was dropped')
      message.ack()
      return
    }
    const tenant = this.#options.route(event.tenantUid)
    if (tenant === undefined) {
      this.#wait(`${projection.name}/${event.tenantUid}`, message)
      return
    }
    this.#unrouted.delete(`${projection.name}/${event.tenantUid}`)
    // A message that comes again may stand for others that were let go.
    const target = message.deliveries > 1 ? Number.POSITIVE_INFINITY : event.position
    this.#of(projection, tenant.route.shard).add({ tenant, target, message })
  }

  // Routing may come later than the event. One message keeps a tenant in mind: more would fill the consumer's window.
  #wait(key: string, message: Message): void {
    const isKept = message.deliveries > 1 || !this.#unrouted.has(key)
    if (isKept && message.deliveries < MOST_DELIVERIES) {
      this.#unrouted.add(key)
      message.retry(retryDelay(message))
    } else {
      if (isKept) this.#unrouted.delete(key)
      message.ack()
    }
  }

  // After NATS lost its data nothing will come for what had been relayed before: every tenant is looked at.
  async #sweep(): Promise<void> {
    for (const shard of this.#options.shards()) {
      const heads = await this.#options.session.poll(shard, findHeads).catch(() => [])
      for (const { tenant: uid, position } of heads) this.#lookAt(shard, String(uid), Number(position))
    }
    for (const { uid, route } of this.#options.apart?.() ?? []) this.#lookAt(route.shard, uid, Number.POSITIVE_INFINITY)
  }

  #lookAt(shard: string, uid: string, target: number): void {
    const tenant = this.#options.route(uid)
    if (tenant === undefined) return
    for (const projection of this.#options.projections) this.#of(projection, shard).add({ tenant, target })
  }

  #of(projection: Projection, shard: string): ShardProjector {
    const key = `${projection.name}/${shard}`
    const known = this.#shards.get(key) ?? new ShardProjector(projection, shard, this.#options)
    this.#shards.set(key, known)
    return known
  }
}

/** A reason to bring a tenant's read model up to `target`. */
type Cause = { tenant: Tenant; target: number; message?: Message }

/** One projection on one Shard: a few tenants at once, each alone, so that one that fails holds up nobody else. */
class ShardProjector {
  readonly #projection: Projection
  readonly #shard: string
  readonly #options: ProjectorOptions
  readonly #waiting = new Map<string, Cause[]>()
  readonly #running = new Map<string, Promise<void>>()
  readonly #behind = new Map<string, number>()
  readonly #pace = new Pace(() => this.#pump())
  #isStopped = false

  constructor(projection: Projection, shard: string, options: ProjectorOptions) {
    this.#projection = projection
    this.#shard = shard
    this.#options = options
  }

  add(cause: Cause): void {
    const { uid } = cause.tenant
    const waiting = this.#waiting.get(uid)
    if (waiting === undefined) this.#waiting.set(uid, [cause])
    else waiting.push(cause)
    this.#pump()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#running.values())
  }

  #pump(): void {
    for (const [uid, causes] of this.#waiting) {
      if (this.#isStopped || this.#running.size >= TENANTS_AT_ONCE) return
      if (this.#running.has(uid) || this.#pace.isResting(uid)) continue
      this.#waiting.delete(uid)
      this.#running.set(uid, this.#run(uid, causes))
    }
  }

  async #run(uid: string, causes: readonly Cause[]): Promise<void> {
    const target = Math.max(...causes.map((cause) => cause.target))
    const since = performance.now()
    try {
      const [{ tenant } = { tenant: undefined }] = causes
      if (tenant !== undefined) await catchUp(this.#options.session, this.#projection, tenant, target)
      for (const { message } of causes) message?.ack()
      this.#behind.delete(uid)
    } catch (error) {
      this.#retry(uid, causes, error)
    } finally {
      this.#running.delete(uid)
      this.#pace.rest(uid, performance.now() - since)
      this.#announce()
      this.#pump()
    }
  }

  // One message is enough to come back to this tenant, since the rest is in the event table; so a tenant that keeps failing
  // does not fill the consumer's window with messages that wait.
  #retry(uid: string, causes: readonly Cause[], error: unknown): void {
    this.#behind.set(uid, causes.length)
    this.#options.log.warn({ projection: this.#projection.name, tenant: uid, error }, 'events could not be projected; trying again')
    const [kept, ...others] = causes.flatMap(({ message }) => message ?? [])
    for (const message of others) message.ack()
    kept?.retry(retryDelay(kept))
  }

  #announce(): void {
    const waiting = [...this.#waiting.values()].reduce((sum, causes) => sum + causes.length, 0)
    const failed = [...this.#behind.values()].reduce((sum, events) => sum + events, 0)
    lags.publish({ projection: this.#projection.name, shard: this.#shard, events: waiting + failed } satisfies ProjectionLag)
  }
}

function retryDelay({ deliveries }: Message): number {
  return Math.min(LONGEST_RETRY, RETRY_AFTER * 2 ** Math.min(deliveries, 10))
}
