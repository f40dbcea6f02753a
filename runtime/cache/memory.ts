import { LRUCache } from 'lru-cache'
import type { Answer } from '../queries/query.ts'

/** How much is kept and for how long; times in milliseconds. */
export type MemoryOptions = {
  /** UTF-16 bytes of all entries together. */
  bytes: number
  /** How long an entry may live: also the longest time an old value stays when an event was lost. */
  timeToLive: number
  /** How many keys' floors are known at once. */
  floors: number
  /** How long a floor is known: longer than any load can take. */
  floorTimeToLive: number
}

const DEFAULT_MEMORY: MemoryOptions = { bytes: 24 * 1024 * 1024, timeToLive: 10_000, floors: 50_000, floorTimeToLive: 60_000 }

/** The first level: entries and floors in this process. An entry below its key's floor is neither kept nor given. */
export class MemoryCache {
  readonly #entries: LRUCache<string, Answer>
  readonly #floors: LRUCache<string, number>
  /** Rises with every mark; a load is as old as the mark from before it. */
  #clock = 0
  /** Floors may have been lost up to this mark: loads that began before it are not kept. */
  #blindUntil = 0

  constructor(options: MemoryOptions = DEFAULT_MEMORY) {
    this.#entries = new LRUCache({
      maxSize: options.bytes,
      sizeCalculation: (answer, key) => 2 * (answer.body.length + key.length) + 200,
      ttl: options.timeToLive,
    })
    this.#floors = new LRUCache({
      max: options.floors,
      ttl: options.floorTimeToLive,
      dispose: (_floor, _key, reason) => {
        if (reason === 'evict') this.#blindUntil = this.#clock
      },
    })
  }

  get(key: string): Answer | undefined {
    return this.#entries.get(key)
  }

  floor(key: string): number {
    return this.#floors.get(key) ?? 0
  }

  /** To be taken before a load, and given to `store` with what it brought. */
  mark(): number {
    this.#clock += 1
    return this.#clock
  }

  /** Keeps the answer unless it may be older than something that is known. Tells whether it may be kept, here and elsewhere. */
  store(key: string, answer: Answer, begunAt: number): boolean {
    if (answer.position < this.floor(key) || begunAt <= this.#blindUntil) return false
    const kept = this.#entries.get(key)
    if (kept === undefined || kept.position <= answer.position) this.#entries.set(key, answer)
    return true
  }

  /** Nothing older than `position` is kept or given from now on. */
  raise(key: string, position: number): void {
    if (position > this.floor(key)) this.#floors.set(key, position)
    const kept = this.#entries.get(key)
    if (kept !== undefined && kept.position < position) this.#entries.delete(key)
  }

  /** Events may have been missed: what is kept, and what is being loaded, is not to be trusted. */
  forget(): void {
    this.#entries.clear()
    this.#blindUntil = this.#clock
  }
}
