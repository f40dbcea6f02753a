import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../../config/log.ts'
import type { TenantUsage } from '../../crds/tenant.ts'
import type { Client } from '../kubernetes/client.ts'
import { TENANTS } from '../kubernetes/object.ts'
import type { Result } from '../loop/controller.ts'
import type { TenantRecord } from '../postgres/catalog.ts'
import { countUsage } from '../postgres/usage.ts'
import { dataUid, homeInStatus, shardOf, type Tenant } from './home.ts'
import type { LastWrites } from './last-writes.ts'
import { lookAtDatabase, type TenantSources } from './observe.ts'

/** What samples work with. */
export type UsageContext = TenantSources & { client: Client; writes: LastWrites; tenant: (name: string) => Tenant | undefined; log: Log }

type Counts = Pick<TenantUsage, 'tasks' | 'users' | 'dataBytes' | 'storageBytes'>

const WAIT: Result = { kind: 'wait' }

/**
 * Counts what a tenant uses and notes it in its status when the numbers are others than those that stand there. A sample that fails, or has
 * nothing to look at, leaves the last one; the next comes with the interval.
 */
export async function sampleTenant(context: UsageContext, name: string, signal: AbortSignal): Promise<Result> {
  const tenant = context.tenant(name)
  if (tenant === undefined || tenant.metadata.deletionTimestamp !== undefined || homeInStatus(tenant) === undefined) return WAIT
  try {
    const counts = await count(context, tenant)
    if (counts !== undefined && !isKnown(tenant, counts)) await note(context, tenant, counts, signal)
  } catch (error) {
    context.log.warn({ tenant: name, err: error }, 'what a tenant uses could not be counted')
  }
  return WAIT
}

/** Undefined: the tenant has no data of its own that can be looked at. */
async function count(context: UsageContext, tenant: Tenant): Promise<Counts | undefined> {
  const look = await lookAtDatabase(context, tenant)
  const shard = shardOf(tenant)
  if (look.kind !== 'seen' || look.facts.record === undefined || shard === undefined) return undefined
  const { record } = look.facts
  if (record.owner !== tenant.metadata.uid || record.retained || !record.made) return undefined
  const [row] = await read(context, shard, record, countUsage(record.isolation, dataUid(tenant), record))
  return row && { tasks: Number(row.tasks), users: Number(row.users), dataBytes: Number(row.data), storageBytes: Number(row.bytes) }
}

async function read({ connections }: UsageContext, shard: string, { isolation, database }: TenantRecord, text: string) {
  if (isolation === 'database') return connections.apart(shard, database, (own) => own.lastRows(text))
  return connections.database(shard)?.lastRows(text) ?? []
}

function isKnown({ status }: Tenant, counts: Counts): boolean {
  const { sampledAt: _sampledAt, ...known } = status?.usage ?? { sampledAt: undefined }
  return isDeepStrictEqual(known, counts)
}

/** Apart from what the pass writes: of two that work at once neither undoes what the other has written. */
async function note({ client, writes }: UsageContext, { metadata, status }: Tenant, counts: Counts, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid } = metadata
  const usage: TenantUsage = { ...counts, sampledAt: `${new Date().toISOString().slice(0, 19)}Z` }
  const written = await client.patch(TENANTS, namespace, name, { metadata: { uid }, status: { usage } }, { subresource: 'status', signal })
  writes.note(written.metadata, written.metadata.generation === status?.observedGeneration)
}
