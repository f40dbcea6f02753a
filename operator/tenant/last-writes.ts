/** What tells one version of an object from another. */
type Version = { name: string; uid: string; resourceVersion: string }

/** A view that has not caught up after so many milliseconds is believed all the same: the cluster may have been restored from a backup. */
export const CATCH_UP_MS = 10_000

/**
 * Remembers this process's last write to each Tenant. A pass that begins before the watch has brought it back would see a Tenant that
 * still lacks it, and do everything again.
 */
export class LastWrites {
  readonly #writes = new Map<string, { uid: string; resourceVersion: bigint; at: number }>()
  readonly #now: () => number

  /** `now` gives milliseconds that never go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** A write was acknowledged, and made this version. */
  note({ name, uid, resourceVersion }: Version): void {
    this.#writes.set(name, { uid, resourceVersion: BigInt(resourceVersion), at: this.#now() })
  }

  /** True when this is a view from before our last write to it. */
  isBehind({ name, uid, resourceVersion }: Version): boolean {
    const write = this.#writes.get(name)
    if (write?.uid !== uid || this.#now() - write.at >= CATCH_UP_MS) return false
    return BigInt(resourceVersion) < write.resourceVersion
  }

  /** The Tenant is gone. */
  forget(name: string): void {
    this.#writes.delete(name)
  }
}
