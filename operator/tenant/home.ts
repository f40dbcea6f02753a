import { TENANT_PLACED, type TenantSpec, type TenantStatus } from '../../crds/tenant.ts'
import type { KubeObject } from '../kubernetes/object.ts'
import type { Home } from '../routing/build.ts'
import type { Placement } from './placement.ts'

/** A Tenant as the API server has it. */
export type Tenant = KubeObject<TenantSpec, TenantStatus>

type Placed = Extract<Placement, { kind: 'placed' }>

/** The annotation that records a placement; it is bound to the UID, so that a copied manifest is placed anew. */
export function placementNote(uid: string, { shard, reason, message }: Placed): Record<string, string> {
  return { [TENANT_PLACED]: JSON.stringify({ uid, shard, reason, message }) }
}

/** The placement that was recorded for this Tenant, if one was. */
export function notedPlacement({ metadata }: Pick<Tenant, 'metadata'>): Placed | undefined {
  const text = metadata.annotations?.[TENANT_PLACED]
  const note = text === undefined ? undefined : parse(text)
  if (note?.uid !== metadata.uid || typeof note.shard !== 'string') return undefined
  return { kind: 'placed', shard: note.shard, reason: note.reason ?? 'NamedShard', message: note.message ?? '' }
}

/** The Shard a Tenant lives on: as its status tells, else as it was placed. */
export function shardOf(tenant: Pick<Tenant, 'metadata' | 'status'>): string | undefined {
  return tenant.status?.shard ?? notedPlacement(tenant)?.shard
}

/** The UID that is in a tenant's rows, names, keys of caches and subjects: its own, or that of the data it has adopted. */
export function dataUid({ metadata, spec }: Pick<Tenant, 'metadata' | 'spec'>): string {
  return spec.adopt ?? metadata.uid
}

/** Where the status says that a tenant stands; undefined until it has stood somewhere. */
export function homeInStatus({ status }: Tenant): Home | undefined {
  const { shard, isolation, database, schema, role, epoch, schemaVersion } = status ?? {}
  if (shard === undefined || isolation === undefined || database === undefined) return undefined
  if (schema === undefined || role === undefined || epoch === undefined || schemaVersion === undefined) return undefined
  return { shard, isolation, database, schema, role, epoch, schemaVersion }
}

function parse(text: string): (Partial<Placed> & { uid?: string }) | undefined {
  try {
    return Object(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** A tenant runs beside those of its Shard, also before it is placed there: a Shard that hangs keeps only its own waiting. Databases take long to make, and have places of their own. */
export function laneOf(tenant: Tenant | undefined): string {
  const shard = (tenant && (shardOf(tenant) ?? tenant.spec.shardRef?.name)) ?? ''
  return tenant?.spec.isolation === 'database' ? `${shard} databases` : shard
}
