import { TENANT_FINALIZER, TENANT_RELEASE, type TenantCondition, type TenantReason, type TenantSpec } from '../../crds/tenant.ts'
import type { TenantFacts } from '../postgres/catalog.ts'
import { dueStep } from './key-rotation.ts'
import { type ApiKey, keySecretName } from './keys.ts'
import type { TenantWorld } from './observe.ts'
import { choosePlacement, type Placement } from './placement.ts'

/** The parts of a tenant that stand one on the other, each with a condition. */
export type Stage = Extract<TenantCondition, 'Placed' | 'Provisioned' | 'SchemaCurrent' | 'IsolationVerified' | 'Routed'>

/** What stands in the way of a stage. */
export type Failure = { stage: Stage; reason: TenantReason; message: string; cause?: unknown }

/** One thing to do in the Shard's database. */
export type DatabaseStep =
  | { kind: 'create' }
  | { kind: 'reopen' }
  | { kind: 'grant' }
  | { kind: 'migrate'; from: number }
  | { kind: 'retain' }
  | { kind: 'drop' }

/** One thing to do to an API key's Secret. */
export type KeyStep =
  | { kind: 'issue'; name: string }
  | { kind: 'replace' | 'rotate' | 'forget'; key: ApiKey }
  | { kind: 'revoke'; key: ApiKey }

/** What a pass will do. `released`: the Tenant may go whatever stands in the way of the steps. */
export type TenantPlan =
  | { kind: 'wait' }
  | { kind: 'place'; placement: Placement }
  | { kind: 'serve'; claim: boolean; steps: DatabaseStep[]; failure: Failure | undefined; keys: KeyStep[] }
  | { kind: 'remove'; steps: DatabaseStep[]; failure: Failure | undefined; keys: KeyStep[]; released: boolean }

/** The last migration of tenants' tables, and of what surrounds them in a database of their own. */
export type Latest = { tenant: number; database: number }

/** Works out what is to be done for a tenant whose migrations end with `latest`. */
export function planTenant(world: TenantWorld, latest: Latest): TenantPlan {
  const { tenant, look, candidates } = world
  const deleting = tenant.metadata.deletionTimestamp !== undefined
  if (look.kind === 'unknown') return { kind: 'wait' }
  if (deleting) return planRemoval(world)
  if (look.kind === 'unplaced') return { kind: 'place', placement: choosePlacement(tenant.spec, candidates) }
  const claim = !tenant.metadata.finalizers?.includes(TENANT_FINALIZER)
  const keys = keySteps(world, tenant.spec.apiKeys ?? [])
  if (look.kind === 'blocked')
    return { kind: 'serve', claim, steps: [], failure: { stage: 'Provisioned', reason: look.reason, message: look.message }, keys }
  const failure = findConflict(world, look.facts)
  return { kind: 'serve', claim, steps: failure === undefined ? provisionSteps(world, look.facts, latest) : [], failure, keys }
}

function planRemoval({ tenant, look, keys }: TenantWorld): TenantPlan {
  const released = tenant.metadata.annotations?.[TENANT_RELEASE] === tenant.metadata.name
  const revoke = keys.map((key): KeyStep => ({ kind: 'revoke', key }))
  const base = { kind: 'remove', keys: revoke, released } as const
  if (look.kind === 'blocked') {
    const message = blockedRemoval(tenant, look.message)
    return { ...base, steps: [], failure: { stage: 'Provisioned', reason: look.reason, message } }
  }
  const steps = look.kind === 'seen' && isLeft(tenant, look.facts) ? [endStep(tenant)] : []
  return { ...base, steps, failure: undefined }
}

/** What is said while a Tenant's data can be neither kept safe nor removed: what stands in the way, and how to give it up. */
export function blockedRemoval({ metadata: { name, namespace }, spec }: TenantWorld['tenant'], why: string): string {
  const wanted = spec.deletionPolicy === 'Delete' ? 'removed' : 'kept safe'
  return `${why} The data cannot be ${wanted} before that; to let the Tenant go and leave in the database what stands there, run: kubectl annotate tenant ${name} -n ${namespace} ${TENANT_RELEASE}=${name}`
}

/** What a removal that went half way has left is still the tenant's; what has its name and was never recorded is somebody else's. */
function isLeft({ spec, status }: TenantWorld['tenant'], { record, placeExists, roleExists }: TenantFacts): boolean {
  if (record !== undefined) return true
  const isOwn = spec.isolation !== 'row' && (placeExists || roleExists)
  return spec.deletionPolicy === 'Delete' && status?.schema !== undefined && isOwn
}

function endStep({ spec }: TenantWorld['tenant']): DatabaseStep {
  return spec.deletionPolicy === 'Delete' ? { kind: 'drop' } : { kind: 'retain' }
}

function provisionSteps({ hasLogin }: TenantWorld, { record, granted, ...at }: TenantFacts, latest: Latest): DatabaseStep[] {
  if (record === undefined || !record.made) return [{ kind: 'create' }]
  const steps: DatabaseStep[] = []
  const ownDatabase = record.isolation === 'database'
  if (record.retained) steps.push({ kind: 'reopen' })
  else if (!granted || (ownDatabase && !hasLogin)) steps.push({ kind: 'grant' })
  const isBehind = at.version < latest.tenant || (ownDatabase && at.baseVersion < latest.database)
  if (isBehind && record.isolation !== 'row') steps.push({ kind: 'migrate', from: at.version })
  return steps
}

/** Checks whose the things are before one is touched; nothing that may hold data is ever made anew in silence. */
function findConflict({ tenant }: TenantWorld, { record, placeExists, roleExists }: TenantFacts): Failure | undefined {
  const { name, namespace } = tenant.metadata
  const { isolation } = tenant.spec
  const found = (reason: TenantReason, message: string): Failure => ({ stage: 'Provisioned', reason, message })
  if (record === undefined && tenant.status?.schema !== undefined) {
    return found(
      'DataMissing',
      `The Shard no longer knows this tenant: restore its database from a backup, or delete this Tenant and create it anew.`,
    )
  }
  if (record === undefined) {
    // The tables that tenants share are there for all of them.
    if (isolation === 'row' || (!placeExists && !roleExists)) return undefined
    return found(
      'NameConflict',
      `A ${isolation} or role of the name this tenant would have exists without the mark of ownership: rename or remove it.`,
    )
  }
  if (record.name !== name || record.namespace !== namespace) {
    return found('NameConflict', `The data belongs to Tenant ${record.namespace}/${record.name}: create this Tenant under that name.`)
  }
  if (record.isolation !== isolation) {
    return found('NameConflict', `The data has isolation ${record.isolation}: create this Tenant with that isolation.`)
  }
  if (!record.made) return undefined
  const place = isolation === 'database' ? `database ${record.database}` : `schema ${record.schema}`
  if (!placeExists) return found('DataMissing', `The ${place} is gone: restore it from a backup.`)
  if (!roleExists) return found('DataMissing', `The role ${record.role} is gone: restore it, with its grants, from a backup.`)
  return undefined
}

function keySteps({ tenant, keys, now }: TenantWorld, wanted: NonNullable<TenantSpec['apiKeys']>): KeyStep[] {
  const names = new Map(keys.map((key) => [key.name, key]))
  const issue = wanted.flatMap((one): KeyStep[] => {
    const key = names.get(one.name)
    if (key === undefined || key.secret !== keySecretName(tenant.metadata.name, one.name)) return [{ kind: 'issue', name: one.name }]
    const kind = key.sha256 === undefined ? 'replace' : dueStep(one, key, now)
    return kind === undefined ? [] : [{ kind, key }]
  })
  const revoke = keys.filter((key) => !wanted.some(({ name }) => name === key.name)).map((key): KeyStep => ({ kind: 'revoke', key }))
  return [...issue, ...revoke]
}
