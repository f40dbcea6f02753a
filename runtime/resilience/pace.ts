/**
 * Lets a key rest for a moment after it was served, so that what comes meanwhile is served together. Who has rested long enough
 * is served at once: a quiet key never waits.
 */
export class Pace {
  readonly #restMs: number
  readonly #onRested: () => void
  readonly #resting = new Set<string>()

  /** `onRested` is called each time that a key may be served again. */
  constructor(restMs: number, onRested: () => void) {
    this.#restMs = restMs
    this.#onRested = onRested
  }

  isResting(key: string): boolean {
    return this.#resting.has(key)
  }

  rest(key: string): void {
    this.#resting.add(key)
    setTimeout(() => {
      this.#resting.delete(key)
      this.#onRested()
    }, this.#restMs).unref()
  }
}
