const LONGEST_REST = 150
const SHORTEST_REST = 20
const REST_PER_WORK = 4

/**
 * Lets a key rest after it was served, four times as long as that took, 20 to 150 ms: what comes meanwhile is served together, so that work
 * in bulk takes a fifth of a busy process's time, and grows by no more when a machine is slow. Who has rested is served at once: a quiet
 * key never waits.
 */
export class Pace {
  readonly #onRested: () => void
  readonly #resting = new Set<string>()

  /** `onRested` is called each time that a key may be served again. */
  constructor(onRested: () => void) {
    this.#onRested = onRested
  }

  isResting(key: string): boolean {
    return this.#resting.has(key)
  }

  /** The key was served, in `workedMs` milliseconds. */
  rest(key: string, workedMs: number): void {
    this.#resting.add(key)
    const ms = Math.min(LONGEST_REST, Math.max(SHORTEST_REST, REST_PER_WORK * workedMs))
    setTimeout(() => {
      this.#resting.delete(key)
      this.#onRested()
    }, ms).unref()
  }
}
