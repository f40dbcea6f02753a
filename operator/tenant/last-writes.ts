import { LRUCache } from 'lru-cache'

/** What tells one version of an object from another. */
type Version = { uid: string; resourceVersion: string }
type Write = { version: bigint; settled: boolean }

/** A view that has not caught up after so many milliseconds is believed all the same: the cluster may have been restored from a backup. */
export const CATCH_UP_MS = 10_000

const REMEMBERED = 10_000

/**
 * Remembers this process's last write to each object. A pass that begins before the watch has brought it back would see an object that
 * still lacks it, and do everything again; and one that begins because it came back would find nothing to do.
 */
export class LastWrites {
  readonly #writes: LRUCache<string, Write>

  /** `now` gives milliseconds that never go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#writes = new LRUCache({ max: REMEMBERED, ttl: CATCH_UP_MS, ttlResolution: 0, perf: { now } })
  }

  /** A write was acknowledged, and made this version. `settled`: the object is now as it should be, as far as is known. */
  note({ uid, resourceVersion }: Version, settled: boolean): void {
    this.#writes.set(uid, { version: BigInt(resourceVersion), settled })
  }

  /** True when this is a view from before our last write to it. Who asked has something to do: what brings the view up to date is then no longer settled. */
  isBehind({ uid, resourceVersion }: Version): boolean {
    const write = this.#writes.get(uid)
    if (write === undefined || BigInt(resourceVersion) >= write.version) return false
    write.settled = false
    return true
  }

  /** True when this is what our last write made, and nothing was left to do. */
  isSettled({ uid, resourceVersion }: Version): boolean {
    const write = this.#writes.get(uid)
    return write?.settled === true && BigInt(resourceVersion) === write.version
  }
}
