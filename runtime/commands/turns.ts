/** Lets work on the same key go one after the other, so that commands on one thing do not lose races against each other in one process. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  /** Does `work` after all earlier work on `key` has ended, however it ended. */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key)
    const mine = before === undefined ? work() : before.then(work, work)
    this.#last.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key)
    }
  }
}
