import { TenantryError } from '../errors.ts'

/** Who holds places, and how many. */
export type Holder = { places: number }

/** Gives a place back; the second time nothing happens. */
type Leave = () => void

/** Takes a place for one server connection. Throws TenantryError `overloaded` when none has become free in time. */
export type TakePlace = () => Promise<Leave>

type Waiter = { holder: Holder; admit: (leave: Leave) => void; timer: NodeJS.Timeout }

/**
 * So many server connections and no more: whoever wants one more waits for a place, in the order of asking. While there are too few, `onShort`
 * is told at each change how many, to have them given back.
 */
export class Places {
  readonly #wait: number
  readonly #onShort: (places: number) => void
  readonly #waiting = new Set<Waiter>()
  #most: number
  #taken = 0

  /** `wait`: how long one waits for a place, in milliseconds. */
  constructor(most: number, wait: number, onShort: (places: number) => void = () => undefined) {
    this.#most = most
    this.#wait = wait
    this.#onShort = onShort
  }

  /** Takes a place; what `TakePlace` says. */
  take(holder: Holder = { places: 0 }): Promise<Leave> {
    if (this.#waiting.size === 0 && this.#taken < this.#most) return Promise.resolve(this.#occupy(holder))
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(waiter)
        reject(new TenantryError('overloaded', 'Too much is going on.', { retryAfter: 1 }))
      }
      const waiter: Waiter = { holder, admit: resolve, timer: setTimeout(giveUp, this.#wait) }
      this.#waiting.add(waiter)
      this.#tellShortage()
    })
  }

  /** Changes how many there are. Those that are taken are given back one by one. */
  resize(most: number): void {
    this.#most = most
    this.#admit()
  }

  // A holder is known as one before anybody is told of the shortage: it may be the one to give its place back next.
  #occupy(holder: Holder): Leave {
    this.#taken += 1
    holder.places += 1
    let left = false
    return () => {
      if (left) return
      left = true
      this.#taken -= 1
      holder.places -= 1
      this.#admit()
    }
  }

  #admit(): void {
    for (const waiter of this.#waiting) {
      if (this.#taken >= this.#most) break
      this.#waiting.delete(waiter)
      clearTimeout(waiter.timer)
      waiter.admit(this.#occupy(waiter.holder))
    }
    this.#tellShortage()
  }

  #tellShortage(): void {
    const short = this.#waiting.size + Math.max(0, this.#taken - this.#most)
    if (short > 0) this.#onShort(short)
  }
}
