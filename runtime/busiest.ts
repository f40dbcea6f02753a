/** What a tenant has asked for since it was last idle. */
export type Usage = { requests: ReadonlyMap<number, number>; seconds: number }

type Entry = { requests: Map<number, number>; seconds: number; recent: number; before: number }

/** For so long a tenant counts as busy, once or twice, in milliseconds. */
const WINDOW = 5 * 60_000

/**
 * Counts the requests of tenants, and tells of those that have sent the most in the last five to ten minutes, at most `most` of them: what
 * watches many tenants is told of no more series than it has asked for. Who sends nothing for so long is forgotten, and begins at 0 again.
 */
export class Busiest {
  readonly #most: number
  readonly #now: () => number
  readonly #tenants = new Map<string, Entry>()
  #turned: number

  constructor(most: number, now: () => number = Date.now) {
    this.#most = most
    this.#now = now
    this.#turned = now()
  }

  /** One request of a tenant has been answered with this status, after so many seconds. */
  add(tenant: string, status: number, seconds: number): void {
    const entry = this.#tenants.get(tenant) ?? { requests: new Map(), seconds: 0, recent: 0, before: 0 }
    entry.requests.set(status, (entry.requests.get(status) ?? 0) + 1)
    entry.seconds += seconds
    entry.recent += 1
    this.#tenants.set(tenant, entry)
  }

  /** The busiest tenants, the busiest first. */
  list(): [tenant: string, usage: Usage][] {
    this.#turn()
    const busy = [...this.#tenants].toSorted(([, a], [, b]) => b.recent + b.before - a.recent - a.before)
    return busy.slice(0, this.#most)
  }

  #turn(): void {
    if (this.#now() - this.#turned < WINDOW) return
    this.#turned = this.#now()
    for (const [tenant, entry] of this.#tenants) {
      if (entry.recent === 0) this.#tenants.delete(tenant)
      entry.before = entry.recent
      entry.recent = 0
    }
  }
}
