/** How long it is remembered who has taken how much, in milliseconds. */
const WINDOW_MS = 1_000

/** Below this part of the burst a caller who has taken most of it leaves the rest to the others. */
const SCARCE = 1 / 2

/**
 * Keeps one caller of a tenant from using up what all of its callers share: while less than half is left, who has taken more than half of what
 * was taken in the last second or two waits, if others ask too, be it in vain. A caller who is alone has everything.
 */
export class Shares {
  readonly #now: () => number
  #since = Number.NEGATIVE_INFINITY
  #counts = new Map<string, number>()
  #before = new Map<string, number>()
  #total = 0
  #totalBefore = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** Whether this caller may take one more, when `left` of the burst is left, from 0 to 1. */
  allows(caller: string, left: number): boolean {
    this.#turn()
    const taken = this.#counts.get(caller)
    if (taken === undefined) this.#counts.set(caller, 0)
    if (left >= SCARCE || this.#isAlone(caller)) return true
    return ((taken ?? 0) + (this.#before.get(caller) ?? 0)) * 2 <= this.#total + this.#totalBefore
  }

  /** This caller has taken one. */
  count(caller: string): void {
    this.#counts.set(caller, (this.#counts.get(caller) ?? 0) + 1)
    this.#total += 1
  }

  #isAlone(caller: string): boolean {
    return this.#counts.size === 1 && this.#before.size === (this.#before.has(caller) ? 1 : 0)
  }

  #turn(): void {
    const now = this.#now()
    if (now - this.#since < WINDOW_MS) return
    const isRecent = now - this.#since < 2 * WINDOW_MS
    this.#before = isRecent ? this.#counts : new Map()
    this.#totalBefore = isRecent ? this.#total : 0
    this.#counts = new Map()
    this.#total = 0
    this.#since = now
  }
}
