import type { Store } from '../kubernetes/watch.ts'
import type { Tenant } from './home.ts'
import { homeInStatus, shardOf } from './home.ts'

type Named = { uid: string; name: string }

/**
 * How many tenants each Shard has. A placement counts from the moment it is made, before the API server or the watch knows of it:
 * tenants that are placed at the same time see each other. `tenants` are to be found by their Shard.
 */
export class Occupancy {
  readonly #tenants: Pick<Store<Tenant>, 'get' | 'list' | 'under'>
  readonly #fresh = new Map<string, { name: string; shard: string }>()

  constructor(tenants: Pick<Store<Tenant>, 'get' | 'list' | 'under'>) {
    this.#tenants = tenants
  }

  /** Counts a tenant on a Shard from now on. */
  place({ uid, name }: Named, shard: string): void {
    this.#fresh.set(uid, { name, shard })
  }

  /** Takes a placement back that could not be recorded. */
  release(uid: string): void {
    this.#fresh.delete(uid)
  }

  /** Whether tenants are being made on the Shard. */
  isBusy = (shard: string): boolean => [...this.#tenants.under(shard).values()].some(isBeingMade)

  /** Tenants by phase. */
  phases(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { status } of this.#tenants.list()) counts.set(status?.phase ?? 'Pending', (counts.get(status?.phase ?? 'Pending') ?? 0) + 1)
    return counts
  }

  /** How many tenants a Shard has. */
  count = (shard: string): number => {
    for (const [uid, { name }] of this.#fresh) if (!this.#isAwaited(uid, name)) this.#fresh.delete(uid)
    const fresh = [...this.#fresh.values()].filter((one) => one.shard === shard)
    return this.#tenants.under(shard).size + fresh.length
  }

  /** Whether it is there, and what the watch has of it does not tell of its Shard yet. */
  #isAwaited(uid: string, name: string): boolean {
    const tenant = this.#tenants.get(name)
    return tenant?.metadata.uid === uid && shardOf(tenant) === undefined
  }
}

function isBeingMade(tenant: Tenant): boolean {
  return homeInStatus(tenant) === undefined && tenant.status?.phase !== 'Failed' && tenant.metadata.deletionTimestamp === undefined
}
