/** How often something may be done: so many times a second, and up to `burst` at once after a rest. */
export type Rate = { perSecond: number; burst: number }

/** What a replica asks of the bucket that all share. `debt` was spent before, and is taken whether it is there or not; `start` is what a bucket holds that nobody has seen before; `before` how many replicas went on alone until now, 1: none did. */
export type Ask = { rate: Rate; want: number; debt: number; start: number; before: number }

/** What the bucket gave, what is left in it (below 0: owed), and how many replicas have asked lately. */
export type Grant = { granted: number; left: number; replicas: number }

/** Takes tokens out of the bucket of that key. Rejects when nobody answers in time. */
export type SharedBucket = (key: string, ask: Ask) => Promise<Grant>

/** Tokens that are not used are not saved up beside the bucket, which has filled up meanwhile. */
const LAPSE_MS = 1_000
/** Asks that follow each other faster double what is asked for; slower than `LAPSE_MS`, they halve it. */
const BUSY_MS = 100
/** The least time between two asks of an empty bucket. */
const PAUSE_MS = 10
/** The most that is asked for at once, and the most that may be owed, as parts of the burst. */
const BATCH = 1 / 10
const CREDIT = 1 / 20

/**
 * This replica's hold on a bucket that all replicas share. Tokens are taken out of it in batches, before they are needed, so that a request
 * seldom waits for an answer. After a rest a few requests are let through at once, on credit, which the next ask pays back. While nobody
 * answers, this replica goes on with what it last knew, as if each of the others did as much as itself.
 */
export class Lease {
  readonly #key: string
  readonly #shared: SharedBucket | undefined
  readonly #now: () => number
  #rate: Rate
  #tokens = 0
  #lapsesAt = 0
  #want = 1
  #left: number
  #at: number
  #asking: Promise<void> | undefined
  #waiting = 0
  #emptyAt = Number.NEGATIVE_INFINITY
  #emptyUntil = 0
  #isAlone = false
  /** How many replicas share the bucket, as far as is known. */
  replicas = 1

  constructor(key: string, shared: SharedBucket | undefined, rate: Rate, now: () => number) {
    this.#key = key
    this.#shared = shared
    this.#now = now
    this.#rate = rate
    this.#left = rate.burst
    this.#at = now()
  }

  /** Takes one token; false: there is none. */
  take(rate: Rate): boolean | Promise<boolean> {
    this.#rate = rate
    const now = this.#now()
    if (now > this.#lapsesAt && this.#tokens > 0) this.#tokens = 0
    if (this.#tokens >= 1 || this.#mayOwe(now)) return this.#spend()
    return now < this.#emptyUntil ? false : this.#wait()
  }

  /** How many there are, here and in the bucket, as far as is known. */
  remaining(): number {
    return Math.max(0, Math.floor(Math.min(this.#rate.burst, this.#leftNow() + this.#tokens)))
  }

  /** Milliseconds until there may be one again. */
  pause(): number {
    return Math.max(0, this.#emptyUntil - this.#now())
  }

  #mayOwe(now: number): boolean {
    const isCalm = now - this.#emptyAt > LAPSE_MS && this.#leftNow() + this.#tokens >= 1
    return isCalm && this.#tokens > -Math.max(1, this.#rate.burst * CREDIT)
  }

  #spend(): true {
    this.#tokens -= 1
    if (this.#tokens < this.#want / 2) void this.#refill()
    return true
  }

  async #wait(): Promise<boolean> {
    this.#waiting += 1
    try {
      for (;;) {
        await this.#refill()
        if (this.#tokens >= 1) return this.#spend()
        if (this.#now() < this.#emptyUntil) return false
      }
    } finally {
      this.#waiting -= 1
    }
  }

  #refill(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  async #ask(): Promise<void> {
    const rate = this.#rate
    const debt = Math.max(0, -this.#tokens)
    const ask = { rate, want: this.#wanted(), debt, start: this.#leftNow(), before: this.#isAlone ? this.replicas : 1 }
    const shared = await this.#shared?.(this.#key, ask).catch(() => undefined)
    const { granted, left, replicas } = shared ?? this.#alone(ask)
    this.#isAlone = shared === undefined
    const now = this.#now()
    this.#tokens += debt + granted
    this.#lapsesAt = now + LAPSE_MS
    this.#left = left
    this.#at = now
    this.replicas = replicas
    if (granted >= 1) return
    this.#emptyAt = now
    this.#emptyUntil = now + Math.max(PAUSE_MS, ((1 - left) / rate.perSecond) * 1_000)
  }

  #wanted(): number {
    const since = this.#now() - this.#at
    if (since < BUSY_MS) this.#want = Math.min(this.#want * 2, Math.max(1, Math.floor(this.#rate.burst * BATCH)))
    else if (since > LAPSE_MS) this.#want = Math.max(1, Math.floor(this.#want / 2))
    return Math.max(this.#want, this.#waiting)
  }

  #alone({ rate, want, debt, start }: Ask): Grant {
    const { replicas } = this
    // With a burst below the number of replicas each would have less than one for ever.
    const share = Math.max(start, start >= rate.burst ? replicas : 0) / replicas
    const granted = Math.max(0, Math.min(want, Math.floor(share - debt)))
    return { granted, left: start - (granted + debt) * replicas, replicas }
  }

  #leftNow(): number {
    return Math.min(this.#rate.burst, this.#left + ((this.#now() - this.#at) / 1_000) * this.#rate.perSecond)
  }
}
