import type { Credentials } from '../../config/routing.ts'
import type { TenantReason } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import type { Secret } from '../kubernetes/object.ts'
import { readTenant, type TenantFacts } from '../postgres/catalog.ts'
import type { Connections } from '../postgres/connections.ts'
import { shardNames, tenantName } from '../postgres/names.ts'
import { loginIn } from '../routing/credentials.ts'
import type { Shard } from '../shard/observe.ts'
import { isReady, whyNotReady } from '../shard/reconcile.ts'
import { dataUid, shardOf, type Tenant } from './home.ts'
import type { ApiKey } from './keys.ts'
import type { Occupancy } from './occupancy.ts'
import type { Candidate } from './placement.ts'

/** Where a pass looks. */
export type TenantSources = {
  /** The operator's own. */
  installation: string
  tenants: () => Tenant[]
  shards: () => Shard[]
  /** The API keys whose Secrets are marked as those of the Tenant with this UID. */
  keysOf: (uid: string) => ApiKey[]
  /** The Secret with the runtime's logins. */
  logins: () => Secret | undefined
  occupancy: Occupancy
  connections: Connections
}

/** What the Shard's database says of the tenant. `unknown`: the Shard has not been looked at since this process began. */
export type Look =
  | { kind: 'unplaced' }
  | { kind: 'unknown' }
  | { kind: 'blocked'; reason: TenantReason; message: string }
  | { kind: 'seen'; facts: TenantFacts; database: string }

/** What a pass has found. */
export type TenantWorld = {
  tenant: Tenant
  installation: string
  candidates: Candidate[]
  look: Look
  /** Those that spec no longer names included. */
  keys: ApiKey[]
  /** The runtime has the login of the tenant's own database, where the tenant has one. */
  hasLogin: boolean
  /** Hosts of this Tenant that an older one has. */
  takenHosts: { host: string; by: string }[]
  /** Milliseconds since 1970. */
  now: number
}

/** Looks at everything but the database, at one moment: what is planned and counted before the next `await` cannot be crossed by another pass. */
export function observeTenant(sources: TenantSources, tenant: Tenant, look: Look): TenantWorld {
  return {
    tenant,
    installation: sources.installation,
    candidates: look.kind === 'unplaced' ? candidatesOf(sources) : [],
    look,
    keys: sources.keysOf(tenant.metadata.uid),
    hasLogin: ownLogin(sources, tenant) !== undefined,
    takenHosts: takenHosts(tenant, sources.tenants),
    now: Date.now(),
  }
}

function candidatesOf({ shards, occupancy }: TenantSources): Candidate[] {
  return shards().map((shard) => ({
    name: shard.metadata.name,
    labels: shard.metadata.labels ?? {},
    ready: isReady(shard) && shard.metadata.deletionTimestamp === undefined,
    why: whyNotReady(shard),
    schedulable: shard.spec.schedulable,
    isolations: shard.spec.isolations,
    capacity: shard.spec.capacity.tenants,
    tenants: occupancy.count(shard.metadata.name),
  }))
}

/** Looks into the Shard's database. That it does not answer is something seen, not an error. */
export async function lookAtDatabase(sources: TenantSources, tenant: Tenant): Promise<Look> {
  const { shards, connections } = sources
  const { spec, status } = tenant
  const home = shardOf(tenant)
  if (home === undefined) return { kind: 'unplaced' }
  if (status?.shard === undefined && spec.shardRef !== undefined && spec.shardRef.name !== home) {
    const message = `This Tenant was placed on Shard ${home} before spec.shardRef was changed: name that Shard again, or delete the Tenant and create it anew.`
    return { kind: 'blocked', reason: 'PlacedElsewhere', message }
  }
  const shard = shards().find((one) => one.metadata.name === home)
  if (shard === undefined)
    return {
      kind: 'blocked',
      reason: 'ShardNotFound',
      message: `The Shard ${home} of this Tenant does not exist: create it again.`,
    }
  const connection = connections.database(home)
  if (connection === undefined)
    return isReady(shard) ? { kind: 'unknown' } : { kind: 'blocked', reason: 'ShardNotReady', message: whyNotReady(shard) }
  const { database } = shard.spec.endpoint
  try {
    const login = ownLogin(sources, tenant)?.username
    const facts = await readTenant(connection, dataUid(tenant), spec.isolation, shardNames(database), login)
    return { kind: 'seen', facts, database }
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    return { kind: 'blocked', reason: 'ShardUnreachable', message: `Shard ${home}: ${error.message}` }
  }
}

/** What the runtime logs in to the tenant's own database with, where it has one. */
function ownLogin({ logins }: TenantSources, tenant: Tenant): Credentials | undefined {
  return tenant.spec.isolation === 'database' ? loginIn(logins(), tenantName(dataUid(tenant))) : undefined
}

function takenHosts(tenant: Tenant, tenants: () => Tenant[]): TenantWorld['takenHosts'] {
  const { hosts = [] } = tenant.spec
  if (hosts.length === 0) return []
  const older = tenants().filter((other) => isOlder(other, tenant))
  return hosts.flatMap((host) => {
    const owner = older.find((other) => other.spec.hosts?.includes(host))
    return owner === undefined ? [] : [{ host, by: owner.metadata.name }]
  })
}

function isOlder({ metadata: a }: Tenant, { metadata: b }: Tenant): boolean {
  if (a.uid === b.uid) return false
  return a.creationTimestamp === b.creationTimestamp ? a.uid < b.uid : a.creationTimestamp < b.creationTimestamp
}
