import { TENANT_FINALIZER, TENANT_RELEASE, type TenantCondition, type TenantReason, type TenantSpec } from '../../crds/tenant.ts'
import type { TenantFacts } from '../postgres/catalog.ts'
import { areHeld } from '../postgres/login.ts'
import { findConflict, isOwn } from './conflict.ts'
import { dueStep } from './key-rotation.ts'
import { type ApiKey, keySecretName } from './keys.ts'
import { limitsOf } from './limits.ts'
import type { TenantWorld } from './observe.ts'
import { choosePlacement, type Placement } from './placement.ts'

/** The parts of a tenant that stand one on the other, each with a condition. */
export type Stage = Extract<TenantCondition, 'Placed' | 'Provisioned' | 'SchemaCurrent' | 'IsolationVerified' | 'Routed'>

/** What stands in the way of a stage. */
export type Failure = { stage: Stage; reason: TenantReason; message: string; cause?: unknown }

/** One thing to do in the Shard's database. */
export type DatabaseStep =
  | { kind: 'create' }
  | { kind: 'adopt' }
  | { kind: 'reopen' }
  | { kind: 'grant' }
  | { kind: 'limit' }
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
  const conflict = findConflict(world, look.facts)
  if (conflict !== undefined) return { kind: 'serve', claim, steps: [], failure: { stage: 'Provisioned', ...conflict }, keys }
  const steps = provisionSteps(world, look.facts, latest)
  return { kind: 'serve', claim, steps, failure: rowsBehind(tenant, look.facts, latest), keys }
}

/** Tables that are shared are migrated by the pass of their Shard. */
function rowsBehind({ spec }: TenantWorld['tenant'], { version }: TenantFacts, latest: Latest): Failure | undefined {
  if (spec.isolation !== 'row' || version >= latest.tenant) return undefined
  const message = `The shared tables have migration ${version} of ${latest.tenant}: see the Events of the Shard; it is tried again.`
  return { stage: 'SchemaCurrent', reason: 'SchemaBehind', message }
}

function planRemoval(world: TenantWorld): TenantPlan {
  const { tenant, look, keys } = world
  const released = tenant.metadata.annotations?.[TENANT_RELEASE] === tenant.metadata.name
  const revoke = keys.map((key): KeyStep => ({ kind: 'revoke', key }))
  const base = { kind: 'remove', keys: revoke, released } as const
  if (look.kind === 'blocked') {
    const message = blockedRemoval(tenant, look.message)
    return { ...base, steps: [], failure: { stage: 'Provisioned', reason: look.reason, message } }
  }
  const steps = look.kind === 'seen' && isLeft(world, look.facts) ? [endStep(tenant)] : []
  return { ...base, steps, failure: undefined }
}

/** What is said while a Tenant's data can be neither kept safe nor removed: what stands in the way, and how to give it up. */
export function blockedRemoval({ metadata: { name, namespace }, spec }: TenantWorld['tenant'], why: string): string {
  const wanted = spec.deletionPolicy === 'Delete' ? 'removed' : 'kept safe'
  return `${why} The data cannot be ${wanted} before that; to let the Tenant go and leave in the database what stands there, run: kubectl annotate tenant ${name} -n ${namespace} ${TENANT_RELEASE}=${name}`
}

/** What a removal that went half way has left is still the tenant's; what has its name and was never recorded is somebody else's. */
function isLeft(world: TenantWorld, { record, placeExists, roleExists }: TenantFacts): boolean {
  const { spec, status } = world.tenant
  if (record !== undefined) return isOwn(world, record)
  const isThere = spec.isolation !== 'row' && (placeExists || roleExists)
  return spec.deletionPolicy === 'Delete' && status?.schema !== undefined && isThere
}

function endStep({ spec }: TenantWorld['tenant']): DatabaseStep {
  return spec.deletionPolicy === 'Delete' ? { kind: 'drop' } : { kind: 'retain' }
}

function provisionSteps({ hasLogin, tenant }: TenantWorld, { record, granted, ...at }: TenantFacts, latest: Latest): DatabaseStep[] {
  if (record === undefined || !record.made) return [{ kind: 'create' }]
  const steps: DatabaseStep[] = []
  const ownDatabase = record.isolation === 'database'
  if (record.owner !== tenant.metadata.uid) steps.push({ kind: 'adopt' })
  else if (record.retained) steps.push({ kind: 'reopen' })
  else if (!granted || (ownDatabase && !hasLogin)) steps.push({ kind: 'grant' })
  else if (ownDatabase && !areHeld(at.logins, record.role, limitsOf(tenant.spec))) steps.push({ kind: 'limit' })
  const isBehind = at.version < latest.tenant || (ownDatabase && at.baseVersion < latest.database)
  if (isBehind && record.isolation !== 'row') steps.push({ kind: 'migrate', from: at.version })
  return steps
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
