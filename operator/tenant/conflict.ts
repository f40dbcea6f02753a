import type { TenantReason } from '../../crds/tenant.ts'
import type { TenantFacts, TenantRecord } from '../postgres/catalog.ts'
import { shardOf } from './home.ts'
import type { TenantWorld } from './observe.ts'

/** Why nothing may be touched. */
type Conflict = { reason: TenantReason; message: string }

/** Checks whose the things are before one is touched; nothing that may hold data is ever made anew in silence. */
export function findConflict(world: TenantWorld, facts: TenantFacts): Conflict | undefined {
  const { record } = facts
  if (record === undefined) return findSquatter(world, facts)
  if (isOwn(world, record)) return findMismatch(world, record) ?? findLoss(record, facts)
  const { adopt } = world.tenant.spec
  if (adopt !== undefined) return findObstacle(world, record, adopt) ?? findLoss(record, facts)
  const { namespace, name, installation } = record
  const whose = `Tenant ${namespace}/${name}${installation === null ? '' : ` of installation ${installation}`}`
  return found('NameConflict', `The data belongs to ${whose}, this is ${world.installation}: create this Tenant anew.`)
}

/** Whether the record is this Tenant's. One without an installation is older than those, and of the one that the database is marked for. */
export function isOwn({ tenant, installation }: TenantWorld, record: TenantRecord): boolean {
  return (record.installation ?? installation) === installation && record.owner === tenant.metadata.uid
}

function findSquatter({ tenant }: TenantWorld, { placeExists, roleExists }: TenantFacts): Conflict | undefined {
  const { isolation, adopt } = tenant.spec
  if (tenant.status?.schema !== undefined)
    return found(
      'DataMissing',
      `The Shard no longer knows this tenant: restore its database from a backup, or delete this Tenant and create it anew.`,
    )
  if (adopt !== undefined) return nothingKept(tenant, adopt)
  // The tables that tenants share are there for all of them.
  if (isolation === 'row' || (!placeExists && !roleExists)) return undefined
  return found(
    'NameConflict',
    `A ${isolation} or role of the name this tenant would have exists without the mark of ownership: rename or remove it.`,
  )
}

function findMismatch({ tenant }: TenantWorld, record: TenantRecord): Conflict | undefined {
  const { name, namespace } = tenant.metadata
  if (record.name !== name || record.namespace !== namespace)
    return found('NameConflict', `The data belongs to Tenant ${record.namespace}/${record.name}: create this Tenant under that name.`)
  if (record.isolation !== tenant.spec.isolation)
    return found('NameConflict', `The data has isolation ${record.isolation}: create this Tenant with that isolation.`)
  return undefined
}

/** Data of another namespace is not spoken of: who may create Tenants here need not know of it. */
function findObstacle({ tenant, installation }: TenantWorld, record: TenantRecord, adopt: string): Conflict | undefined {
  const { namespace } = tenant.metadata
  const foreign = (record.installation ?? installation) !== installation || record.namespace !== namespace
  if (foreign || !record.made) return nothingKept(tenant, adopt)
  if (!record.retained)
    return found(
      'AdoptRefused',
      `The data under UID ${adopt} is in use by Tenant ${record.name}: delete that one first, with deletionPolicy Retain.`,
    )
  if (record.isolation !== tenant.spec.isolation)
    return found(
      'AdoptRefused',
      `The data under UID ${adopt} has isolation ${record.isolation}: delete this Tenant and create it anew with that isolation.`,
    )
  return undefined
}

function nothingKept(tenant: TenantWorld['tenant'], adopt: string): Conflict {
  const message = `No data is kept under UID ${adopt} on Shard ${shardOf(tenant)}: the Event DataRetained of the former Tenant says UID and Shard; delete this Tenant and create it anew with both.`
  return found('AdoptRefused', message)
}

function findLoss(record: TenantRecord, { placeExists, roleExists }: TenantFacts): Conflict | undefined {
  if (!record.made) return undefined
  const place = record.isolation === 'database' ? `database ${record.database}` : `schema ${record.schema}`
  if (!placeExists) return found('DataMissing', `The ${place} is gone: restore it from a backup.`)
  if (!roleExists) return found('DataMissing', `The role ${record.role} is gone: restore it, with its grants, from a backup.`)
  return undefined
}

function found(reason: TenantReason, message: string): Conflict {
  return { reason, message }
}
