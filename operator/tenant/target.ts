import type { Log } from '../../config/log.ts'
import type { Isolation } from '../../crds/tenant.ts'
import type { Client } from '../kubernetes/client.ts'
import type { Secret } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { TenantFacts } from '../postgres/catalog.ts'
import type { Database } from '../postgres/connect.ts'
import type { Connections } from '../postgres/connections.ts'
import type { LoginLimits } from '../postgres/login.ts'
import type { Migrations } from '../postgres/migrations.ts'
import type { Physical, ShardNames } from '../postgres/names.ts'
import { adoptRecord, checkOwner } from '../postgres/owners.ts'
import type { TenantIdentity } from '../postgres/statements.ts'
import type { RoutingPublisher } from '../routing/publish.ts'
import type { LastWrites } from './last-writes.ts'
import type { Occupancy } from './occupancy.ts'

/** `repair`: what holds the wall open is taken away where that loses nothing. `suspend`: nothing is touched, and the tenant is no longer served. */
export type OnBreach = 'repair' | 'suspend'

/** What the steps work with. */
export type TenantTools = {
  client: Client
  connections: Connections
  routing: RoutingPublisher
  occupancy: Occupancy
  writes: LastWrites
  recorder: Recorder
  migrations: Migrations
  log: Log
  /** The Secret with the runtime's logins. */
  logins: () => Secret | undefined
  /** What follows when a tenant's wall is down. */
  onBreach: OnBreach
  /** Gives the place of this pass to another, before it only waits. */
  leave: () => void
}

/** One tenant on its Shard, and what the steps work with. */
export type Target = {
  tools: TenantTools
  shard: string
  names: ShardNames
  identity: TenantIdentity
  /** The UID of the Tenant itself. */
  owner: string
  /** How the tenant is kept apart: what is made of it says so, and what was asked for before anything is. */
  isolation: Isolation
  physical: Physical
  facts: TenantFacts
  /** What its spec says that it may take. */
  limits: LoginLimits
  database: Pick<Database, 'query' | 'run'>
  /** Tells of something that was changed by hand and has been put right. */
  tell: (repair: string) => void
  signal: AbortSignal
}

/** What gives the kept data that was found to this Tenant. */
export function adoption({ identity, owner, facts }: Target): string {
  const { uid, namespace, name } = identity
  return adoptRecord(uid, { owner, namespace, name, epoch: epochOf(facts) })
}

/** The epoch that was found; a new tenant begins with 1. */
export function epochOf({ record }: TenantFacts): number {
  return record?.epoch ?? 1
}

/** What was planned for a Tenant's own data may come to be done when another has adopted it: then it fails. */
export function runAsOwner({ database, identity, owner }: Target, statements: string): Promise<void> {
  return database.run(`${checkOwner(identity.uid, owner)}\n${statements}`)
}
