import type { Credentials, Route, ShardEndpoint } from '../../config/routing.ts'
import type { Breaker } from '../resilience/breaker.ts'
import { type SessionSettings, sameLogin } from './endpoint.ts'
import { type Holder, Places } from './places.ts'
import { Shard } from './shard.ts'

/** How to reach one tenant's own database. */
export type Way = { route: Route; endpoint: ShardEndpoint; login: Credentials; ca: string | undefined; breaker: Breaker }

type Open = Holder & {
  shard: Shard
  endpoint: ShardEndpoint
  login: Credentials
  ca: string | undefined
  database: string
  usedAt: number
}

/** A tenant that nobody asked for so long gives its connections back, in milliseconds. */
const IDLE = 15_000

/** One for what is shared, one for transactions that think. */
const PER_TENANT = { pipelined: 1, interactive: 1 }

/**
 * The connections to tenants' own databases on one Shard: two for a tenant at most, closed when idle, and never more than `most` together. When
 * that is too few, the tenant that was asked for longest ago gives its own back, as soon as what is under way over them is done: so tenants
 * take turns, and all that has come for one meanwhile goes over its connection at once.
 */
export class TenantDatabases {
  readonly #name: string
  readonly #places: Places
  readonly #settings: SessionSettings
  readonly #onClosed: (error: unknown) => void
  /** In the order of their last use. */
  readonly #open = new Map<string, Open>()
  readonly #leaving = new Set<Open>()

  constructor(name: string, most: number, settings: SessionSettings, onClosed: (error: unknown) => void) {
    this.#name = name
    this.#places = new Places(most, settings.connectTimeout, (short) => this.#giveBack(short))
    this.#settings = { ...settings, ...PER_TENANT }
    this.#onClosed = onClosed
  }

  /** How many server connections stand open. */
  get connections(): number {
    return [...this.#open.values()].reduce((sum, { shard }) => sum + shard.connections, 0)
  }

  find(way: Way): Shard {
    const { uid, database } = way.route
    const known = this.#open.get(uid)
    const same = known?.database === database && sameWay(known, way)
    const open = known !== undefined && same ? known : this.#connect(way)
    // The newest objects are kept, so that the next comparison is by identity.
    Object.assign(open, { endpoint: way.endpoint, login: way.login })
    open.usedAt = performance.now()
    this.#open.delete(uid)
    this.#open.set(uid, open)
    if (known !== undefined && !same) this.#close(known)
    return open.shard
  }

  /** Changes how many connections there may be. */
  fit(most: number): void {
    this.#places.resize(most)
  }

  /** Closes what nobody uses. */
  sweep(): void {
    for (const [uid, open] of this.#open) {
      if (performance.now() - open.usedAt < IDLE) return
      this.#open.delete(uid)
      this.#close(open)
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ shard }) => shard.close()))
  }

  #connect({ route, endpoint, login, ca, breaker }: Way): Open {
    const credentials = ca === undefined ? login : { ...login, ca }
    const place = { endpoint: { ...endpoint, database: route.database }, credentials }
    const holder = { places: 0 }
    const shard = new Shard(this.#name, place, this.#settings, breaker, () => this.#places.take(holder))
    return Object.assign(holder, { shard, endpoint, login, ca, database: route.database, usedAt: 0 })
  }

  #giveBack(short: number): void {
    let leaving = [...this.#leaving].reduce((sum, { places }) => sum + places, 0)
    for (const [uid, open] of this.#open) {
      if (leaving >= short) return
      if (open.places === 0) continue
      leaving += open.places
      this.#open.delete(uid)
      this.#close(open)
    }
  }

  // What is under way over them still ends well.
  #close(open: Open): void {
    this.#leaving.add(open)
    const left = () => this.#leaving.delete(open)
    open.shard.close().catch(this.#onClosed).finally(left)
  }
}

function sameWay(known: Open, { endpoint, login, ca }: Way): boolean {
  return known.ca === ca && sameLogin({ endpoint: known.endpoint, credentials: known.login }, { endpoint, credentials: login })
}
