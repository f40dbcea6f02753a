import type { Tenant } from './home.ts'
import { homeInStatus, shardOf } from './home.ts'

/**
 * How many tenants each Shard has. A placement counts from the moment it is made, before the API server or the watch knows of it:
 * tenants that are placed at the same time see each other.
 */
export class Occupancy {
  readonly #tenants: () => readonly Tenant[]
  readonly #fresh = new Map<string, string>()

  constructor(tenants: () => readonly Tenant[]) {
    this.#tenants = tenants
  }

  /** Counts a tenant on a Shard from now on. */
  place(uid: string, shard: string): void {
    this.#fresh.set(uid, shard)
  }

  /** Takes a placement back that could not be recorded. */
  release(uid: string): void {
    this.#fresh.delete(uid)
  }

  /** Whether tenants are being made on the Shard. */
  isBusy = (shard: string): boolean => this.#tenants().some((tenant) => shardOf(tenant) === shard && isBeingMade(tenant))

  /** Tenants by phase. */
  phases(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { status } of this.#tenants()) counts.set(status?.phase ?? 'Pending', (counts.get(status?.phase ?? 'Pending') ?? 0) + 1)
    return counts
  }

  /** Tenants by Shard. */
  count(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const tenant of this.#tenants()) {
      const { uid } = tenant.metadata
      const known = shardOf(tenant)
      if (known !== undefined) this.#fresh.delete(uid)
      const shard = known ?? this.#fresh.get(uid)
      if (shard !== undefined) counts.set(shard, (counts.get(shard) ?? 0) + 1)
    }
    return counts
  }
}

function isBeingMade(tenant: Tenant): boolean {
  return homeInStatus(tenant) === undefined && tenant.status?.phase !== 'Failed' && tenant.metadata.deletionTimestamp === undefined
}
