import { CREDENTIALS_SECRET } from '../config/routing.ts'
import type { Controller } from './loop/controller.ts'
import { gather } from './loop/gather.ts'
import { tenantName } from './postgres/names.ts'
import { loginIn } from './routing/credentials.ts'
import type { RoutingPublisher } from './routing/publish.ts'
import { shardMark } from './shard/observe.ts'
import type { Changes, Stores } from './stores.ts'
import { dataUid, shardOf, type Tenant } from './tenant/home.ts'
import type { LastWrites } from './tenant/last-writes.ts'
import type { Occupancy } from './tenant/occupancy.ts'

/** Whose passes are asked for, and what is gone by. `noteUse` is told when there may be more, or fewer, Shards and Tenants. */
export type WakeOptions = {
  stores: Stores
  shards: Controller
  tenants: Controller
  occupancy: Occupancy
  writes: LastWrites
  routing: RoutingPublisher
  noteUse: () => void
  signal: AbortSignal
}

/** Changes of how many tenants a Shard has are gathered for so long before its status tells. */
const COUNT_MS = 5_000

/** Asks for passes: of what has changed, and of who waits for it. */
export class Wake {
  readonly #options: WakeOptions
  readonly #shardMarks: Map<string, string>
  readonly #countSoon: (shard: string) => void

  constructor(options: WakeOptions) {
    this.#options = options
    this.#shardMarks = new Map(options.stores.shards.list().map((shard) => [shard.metadata.name, shardMark(shard)]))
    this.#countSoon = gather(COUNT_MS, options.signal, (shard) => this.#count(shard))
  }

  readonly changes: Changes = {
    shards: (name) => this.#onShard(name),
    tenants: (name) => this.#onTenant(name),
    secrets: (name) => this.#onKey(name),
    logins: () => this.#wakeTenants((tenant) => this.#lacksLogin(tenant)),
    configmaps: (name) => this.#options.routing.observe(name, this.#options.stores.configmaps.get(name)),
  }

  /** Everything is looked at: the process has just begun. */
  all(): void {
    this.shards()
    for (const { metadata } of this.#options.stores.tenants.list()) this.#options.tenants.enqueue(metadata.name, 'resync')
  }

  /** What all Shards go by has changed. */
  shards(): void {
    for (const { metadata } of this.#options.stores.shards.list()) this.shardDown(metadata.name)
  }

  /** A Shard no longer answers: its own pass says so. */
  shardDown(shard: string): void {
    this.#options.shards.enqueue(shard)
  }

  /** A Shard answers again, to all who live there. */
  shardUp(shard: string): void {
    this.#wakeTenants((tenant) => shardOf(tenant) === shard)
  }

  #wakeTenants(which: (tenant: Tenant) => boolean): void {
    const { stores, tenants } = this.#options
    for (const tenant of stores.tenants.list()) if (which(tenant)) tenants.enqueue(tenant.metadata.name)
  }

  // The count of tenants is our own and changes with each of them: what waits for a Shard is not woken by it.
  #onShard(name: string): void {
    const { stores, shards, noteUse } = this.#options
    noteUse()
    const mark = shardMark(stores.shards.get(name))
    if (mark === this.#shardMarks.get(name)) return
    this.#shardMarks.set(name, mark)
    shards.enqueue(name)
    this.#wakeTenants((tenant) => (shardOf(tenant) ?? name) === name && tenant.status?.phase !== 'Ready')
  }

  #onTenant(name: string): void {
    const { stores, tenants, writes, noteUse } = this.#options
    noteUse()
    const tenant = stores.tenants.get(name)
    tenants.enqueue(name, 'change', () => tenant === undefined || !writes.isSettled(tenant.metadata))
    const shard = tenant && shardOf(tenant)
    for (const one of shard === undefined ? stores.shards.list().map(({ metadata }) => metadata.name) : [shard]) this.#countSoon(one)
  }

  #onKey(name: string): void {
    const { stores, tenants, writes } = this.#options
    const metadata = stores.secrets.get(name)?.metadata
    const owner = metadata?.ownerReferences?.[0]?.name ?? name.split('-apikey-')[0]
    if (owner !== undefined) tenants.enqueue(owner, 'change', () => metadata === undefined || !writes.isSettled(metadata))
  }

  #count(name: string): void {
    const { stores, shards, occupancy } = this.#options
    const shard = stores.shards.get(name)
    const isTold = shard?.status?.tenants === occupancy.count(name)
    if (shard?.metadata.deletionTimestamp !== undefined || !isTold) shards.enqueue(name)
  }

  #lacksLogin(tenant: Tenant): boolean {
    const logins = this.#options.stores.logins.get(CREDENTIALS_SECRET)
    return tenant.status?.isolation === 'database' && loginIn(logins, tenantName(dataUid(tenant))) === undefined
  }
}
