import { TENANT_RELEASE } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import { readSpareLogin, readTenant } from '../postgres/catalog.ts'
import { isOutage } from '../postgres/failure.ts'
import { ownLogins, tenantName } from '../postgres/names.ts'
import { isOwn } from './conflict.ts'
import { dataUid, homeInStatus, shardOf, type Tenant } from './home.ts'
import type { TenantWorld } from './observe.ts'
import { blockedRemoval, type DatabaseStep, type Failure } from './plan.ts'
import type { Target } from './target.ts'

/**
 * Throws DeletionBlocked when something of a tenant that was dropped is still there. That no statement failed is not enough: a trigger can
 * make one do nothing.
 */
export async function proveGone({ database, identity, isolation, physical, names }: Target): Promise<void> {
  const { record, placeExists, roleExists, version } = await readTenant(database, identity.uid, isolation, names)
  const { spare } = ownLogins(physical.role)
  const spareExists = isolation === 'database' && (await readSpareLogin(database, spare)).exists
  const { schema, role } = physical
  // What tenants share stays; that no row is left there, the removal itself has made sure of.
  const isOwn = isolation !== 'row'
  const left = [
    ...(isOwn && placeExists ? [isolation === 'database' ? `database ${physical.database}` : `schema ${schema}`] : []),
    ...(isOwn && roleExists ? [`role ${role}`] : []),
    ...(spareExists ? [`role ${spare}`] : []),
    ...(record === undefined && (version === 0 || !isOwn) ? [] : [`rows of ${identity.uid} in the schema tenantry`]),
  ]
  if (left.length > 0) throw new OperatorError('DeletionBlocked', `After everything was dropped there is still ${left.join(', ')}.`)
}

/** What stands in the way of a step that ends a tenant. */
export function describeRemoval(tenant: Tenant, { kind }: DatabaseStep, shard: string | undefined, cause: unknown): Failure {
  const outage = isOutage(cause)
  const why = cause instanceof OperatorError ? cause.message : `The step ${kind} failed: see the operator's log; it is tried again.`
  const message = blockedRemoval(tenant, `Shard ${shard}: ${why}`)
  return { stage: 'Provisioned', reason: outage ? 'ShardUnreachable' : 'DeletionBlocked', message, cause }
}

/**
 * Says what has become of the Tenant's own data; also of what was removed by a pass that did not live to tell. Nothing of a record that is
 * another's: it was not touched, and where it stands is not for whoever was refused it.
 */
export async function tellEnd(recorder: Recorder, world: TenantWorld, steps: readonly DatabaseStep[]): Promise<void> {
  const { tenant, look } = world
  if (look.kind !== 'seen') return
  const { record } = look.facts
  if (record !== undefined && !isOwn(world, record)) return
  const stood = record ?? (tenant.spec.deletionPolicy === 'Delete' ? homeInStatus(tenant) : undefined)
  if (stood === undefined) return
  const { isolation, database, schema } = stood
  const what = isolation === 'row' ? `the rows in schema ${schema} of` : isolation === 'schema' ? `schema ${schema} of` : 'the whole of'
  const place = `${what} database ${database} on Shard ${shardOf(tenant)}`
  if (record === undefined || steps.some(({ kind }) => kind === 'drop'))
    await recorder.record(tenant, 'Normal', 'DataRemoved', `Removed ${place}, what let the runtime in, the API keys and the route.`)
  else
    await recorder.record(
      tenant,
      'Normal',
      'DataRetained',
      `Kept: ${place}, under UID ${dataUid(tenant)}; API keys and route are removed. Set spec.deletionPolicy to Delete before deleting to remove it.`,
    )
}

/** Says what stays where, of a Tenant that was let go as it was. */
export async function tellRelease(recorder: Recorder, tenant: Tenant): Promise<void> {
  const { schema = tenantName(dataUid(tenant)), role = schema, database } = tenant.status ?? {}
  const where = `${database === undefined ? 'the database' : `database ${database}`} of Shard ${shardOf(tenant)}`
  await recorder.record(
    tenant,
    'Warning',
    'Released',
    `Let go as the annotation ${TENANT_RELEASE} asks, without removing or closing what stands in ${where}: schema ${schema}, role ${role} and the row of ${dataUid(tenant)} in tenantry.tenants, as far as they were made. API keys and route are removed.`,
  )
}
