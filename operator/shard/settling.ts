import type { ShardEndpoint } from '../../config/routing.ts'

/** Within this time each replica has heard of a smaller share, and opens no more than that. */
const HEARD_MS = 3_000

/** Longer is not waited for a replica that gives nothing back: it has lost sight of the cluster, or hangs, and others have to come in its place. */
const PATIENCE_MS = 60_000

/** Since when the replicas of each Shard give back what they have more than their share, which got smaller. */
export class Settling {
  readonly #since = new Map<string, number>()

  /**
   * Whether replicas that come have to wait: from a smaller share on until each that serves has heard of it and, as the server shows, none has
   * more. `published` is what the runtimes know now, `usedByOne` the most connections that one of them has.
   */
  isOn(shard: string, published: ShardEndpoint | undefined, share: number, usedByOne: number, now: number): boolean {
    if (published === undefined) return false
    if (share < (published.connections ?? Number.POSITIVE_INFINITY)) {
      this.#since.delete(shard)
      return true
    }
    if (published.settling !== true) return false
    const lasted = now - (this.#since.get(shard) ?? now)
    return lasted < HEARD_MS || (usedByOne > share && lasted < PATIENCE_MS)
  }

  /** To be told when the API server has acknowledged what was published. */
  published(shard: string, settling: boolean, now: number): void {
    if (!settling) this.#since.delete(shard)
    else if (!this.#since.has(shard)) this.#since.set(shard, now)
  }
}
