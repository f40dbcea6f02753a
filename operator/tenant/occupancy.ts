type Placed = { metadata: { uid: string }; status?: { shard?: string } | undefined }

/**
 * How many tenants each Shard has. A placement counts from the moment it is made, before the API server or the watch knows of it:
 * tenants that are placed at the same time see each other.
 */
export class Occupancy {
  readonly #tenants: () => readonly Placed[]
  readonly #fresh = new Map<string, string>()

  constructor(tenants: () => readonly Placed[]) {
    this.#tenants = tenants
  }

  /** Counts a tenant on a Shard from now on. */
  place(uid: string, shard: string): void {
    this.#fresh.set(uid, shard)
  }

  /** True while a placement of this process has yet to come back through the watch. */
  isFresh({ metadata, status }: Placed): boolean {
    return status?.shard === undefined && this.#fresh.has(metadata.uid)
  }

  /** Takes a placement back that could not be recorded. */
  release(uid: string): void {
    this.#fresh.delete(uid)
  }

  /** Tenants by Shard. */
  count(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { metadata, status } of this.#tenants()) {
      if (status?.shard !== undefined) this.#fresh.delete(metadata.uid)
      const shard = status?.shard ?? this.#fresh.get(metadata.uid)
      if (shard !== undefined) counts.set(shard, (counts.get(shard) ?? 0) + 1)
    }
    return counts
  }
}
