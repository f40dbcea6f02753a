import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Work that many ask for and that serves all who ask: those who come while it waits share the next round, which begins after all of them
 * have asked. One round at a time, whatever it is for, and a rest after each: a single one waits for nothing, and a thousand that come at
 * once cost few.
 */
export class Rounds {
  readonly #rest: (tookMs: number) => number
  readonly #next = new Map<string, { round: Promise<unknown>; items: unknown[] }>()
  #last: Promise<unknown> = Promise.resolve()

  /** `rest`: for how many milliseconds after a round that took so many. */
  constructor(rest: (tookMs: number) => number = restAfter) {
    this.#rest = rest
  }

  /**
   * Does `work` in the next round for `key`, or shares the one that waits: whoever asks for the same key wants the same work. It is given the
   * items of all who share it.
   */
  share<T, Item = never>(key: string, work: (items: readonly Item[]) => Promise<T>, ...items: Item[]): Promise<T> {
    const waiting = this.#next.get(key)
    if (waiting !== undefined) {
      waiting.items.push(...items)
      return waiting.round as Promise<T>
    }
    let began = 0
    const round = this.#last.then(() => {
      began = performance.now()
      this.#next.delete(key)
      return work(items)
    })
    this.#next.set(key, { round, items })
    this.#last = round.catch(() => {}).then(() => sleep(this.#rest(performance.now() - began), undefined, { ref: false }))
    return round
  }
}

/** Eight times as long as the round took, which is longer while others need the machine too, and at most half a second. */
export function restAfter(tookMs: number): number {
  return Math.min(500, 8 * tookMs)
}
