import { channel } from 'node:diagnostics_channel'
import type { Log } from '../../config/log.ts'
import { Pace } from '../resilience/pace.ts'
import type { AtEnd, Run, Session, Tenant } from '../shards/session.ts'
import { formatCloudEvent } from './cloud-event.ts'
import type { Jetstream } from './jetstream.ts'
import { advanceRelayed, findUnrelayed, nextUnrelayed } from './relayed.ts'
import { toStoredEvent } from './store.ts'
import { subjectOf } from './subjects.ts'

/** Told on `tenantry:relay`: how long the oldest event of the Shard that is not relayed yet has waited. */
export type RelayLag = { shard: string; seconds: number }

export type RelayOptions = {
  session: Session
  jetstream: Pick<Jetstream, 'isConnected' | 'publish'>
  prefix: string
  shards: () => Iterable<string>
  route: (tenantUid: string) => Tenant | undefined
  /** The tenants with a database of their own, whose heads no Shard's poll sees. */
  apart?: () => Iterable<Tenant>
  /** The timeline on which events of a tenant may be relayed, undefined: none for now. Without it: whatever the server is on. */
  timeline?: (tenant: Tenant) => string | undefined
  log: Log
  /** Milliseconds between two looks for what another replica, or nobody, is relaying. */
  pollEvery?: number
  /** The same for tenants with a database of their own: each look costs a connection. */
  sweepEvery?: number
}

const PAGE = 256
const TENANTS_AT_ONCE = 2
const LONGEST_WAIT = 5_000
const lags = channel('tenantry:relay')

/**
 * Brings events from the event tables to JetStream: those of one tenant in order and by one replica at a time. An event is
 * marked only when the stream has it, so that none is lost and some come twice.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #shards = new Map<string, ShardRelay>()
  readonly #timer: NodeJS.Timeout
  readonly #sweeping: NodeJS.Timeout
  #isStopped = false

  constructor(options: RelayOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#poll(), options.pollEvery ?? 200)
    this.#sweeping = setInterval(() => this.#sweep(), options.sweepEvery ?? 60_000)
  }

  /** The tenant has new events: they go out at once. */
  wake(tenantUid: string): void {
    const tenant = this.#options.route(tenantUid)
    if (tenant !== undefined && !this.#isStopped) this.#of(tenant.route.shard).add(tenant)
  }

  /** Ends when what is under way is done. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    clearInterval(this.#sweeping)
    await Promise.all([...this.#shards.values()].map((shard) => shard.stop()))
  }

  // Whoever committed relays: this is for what a replica left behind when it ended.
  #sweep(): void {
    for (const tenant of this.#options.apart?.() ?? []) this.#of(tenant.route.shard).add(tenant)
  }

  #poll(): void {
    for (const shard of this.#options.shards()) this.#of(shard).poll()
  }

  #of(name: string): ShardRelay {
    const shard = this.#shards.get(name) ?? new ShardRelay(name, this.#options)
    this.#shards.set(name, shard)
    return shard
  }
}

/** The relay of one Shard's tenants: a few at once, and a growing pause after failures. */
class ShardRelay {
  readonly #name: string
  readonly #options: RelayOptions
  readonly #waiting = new Map<string, Tenant>()
  readonly #running = new Map<string, Promise<void>>()
  /** When a tenant was first seen with something to relay. */
  readonly #since = new Map<string, number>()
  readonly #pace = new Pace(() => this.#pump())
  #polling: Promise<void> | undefined
  #failures = 0
  #notBefore = 0
  #isStopped = false

  constructor(name: string, options: RelayOptions) {
    this.#name = name
    this.#options = options
  }

  add(tenant: Tenant): void {
    if (!this.#since.has(tenant.uid)) this.#since.set(tenant.uid, Date.now())
    this.#waiting.set(tenant.uid, tenant)
    this.#pump()
  }

  poll(): void {
    this.#announce()
    this.#polling ??= this.#find().finally(() => {
      this.#polling = undefined
    })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all([this.#polling, ...this.#running.values()])
  }

  async #find(): Promise<void> {
    try {
      const rows = await this.#options.session.poll(this.#name, findUnrelayed)
      const found = new Set(rows.map((row) => String(row.tenant)))
      for (const uid of this.#since.keys())
        if (!found.has(uid) && !this.#waiting.has(uid) && !this.#running.has(uid)) this.#since.delete(uid)
      this.#pump()
      for (const uid of found) this.#addFound(uid)
    } catch (error) {
      this.#options.log.debug({ shard: this.#name, error }, 'cannot look for events to relay')
    }
  }

  // A tenant without a route is being moved, removed or has just come: whoever knows it will relay it.
  #addFound(uid: string): void {
    const tenant = this.#options.route(uid)
    if (tenant !== undefined && !this.#running.has(uid)) this.add(tenant)
  }

  #pump(): void {
    if (this.#isStopped || !this.#options.jetstream.isConnected || Date.now() < this.#notBefore) return
    for (const [uid, tenant] of this.#waiting) {
      if (this.#running.size >= TENANTS_AT_ONCE) return
      if (this.#running.has(uid) || this.#pace.isResting(uid) || !this.#isSettled(tenant)) continue
      this.#waiting.delete(uid)
      this.#running.set(uid, this.#run(tenant))
    }
  }

  #isSettled(tenant: Tenant): boolean {
    const { timeline } = this.#options
    return timeline === undefined || timeline(tenant) !== undefined
  }

  async #run(tenant: Tenant): Promise<void> {
    const since = performance.now()
    try {
      while (!this.#isStopped && (await this.#options.session.transaction(tenant, (...of) => this.#relayPage(tenant, ...of))));
      this.#failures = 0
    } catch (error) {
      this.#failures += 1
      this.#notBefore = Date.now() + Math.min(LONGEST_WAIT, 100 * 2 ** this.#failures)
      this.#options.log.warn({ shard: this.#name, tenant: tenant.uid, error }, 'events could not be relayed; trying again')
      if (tenant.route.isolation === 'database') this.#waiting.set(tenant.uid, tenant)
    } finally {
      this.#running.delete(tenant.uid)
      this.#pace.rest(tenant.uid, performance.now() - since)
      this.#pump()
    }
  }

  /** True when there may be more. */
  async #relayPage(tenant: Tenant, run: Run, atEnd: AtEnd): Promise<boolean> {
    const rows = await run(nextUnrelayed(tenant.uid, PAGE, this.#options.timeline?.(tenant)))
    const events = rows.map((row) => toStoredEvent(tenant.uid, row))
    const last = events.at(-1)
    if (last === undefined) return this.#drained(tenant.uid)
    const { jetstream, prefix } = this.#options
    await Promise.all(
      events.map((event) => jetstream.publish(subjectOf(prefix, tenant.uid, event.type), formatCloudEvent(event), event.id)),
    )
    atEnd(advanceRelayed(tenant.uid, last.position))
    return events.length === PAGE || this.#drained(tenant.uid)
  }

  #drained(uid: string): false {
    this.#since.delete(uid)
    return false
  }

  #announce(): void {
    const oldest = Math.min(...this.#since.values())
    lags.publish({ shard: this.#name, seconds: Number.isFinite(oldest) ? (Date.now() - oldest) / 1_000 : 0 } satisfies RelayLag)
  }
}
