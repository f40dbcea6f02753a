import { TENANT_FINALIZER, type TenantCondition, type TenantReason } from '../../crds/tenant.ts'
import type { TenantFacts } from '../postgres/catalog.ts'
import { findConflict, isOwn } from './conflict.ts'
import { type ApiKey, keySecretName } from './keys.ts'
import type { TenantWorld } from './observe.ts'
import { choosePlacement, type Placement } from './placement.ts'

/** The parts of a tenant that stand one on the other, each with a condition. */
export type Stage = Extract<TenantCondition, 'Placed' | 'Provisioned' | 'SchemaCurrent' | 'Routed'>

/** What stands in the way of a stage. */
export type Failure = { stage: Stage; reason: TenantReason; message: string; cause?: unknown }

/** One thing to do in the Shard's database. */
export type DatabaseStep =
  | { kind: 'create' }
  | { kind: 'adopt' }
  | { kind: 'reopen' }
  | { kind: 'grant' }
  | { kind: 'migrate'; from: number }
  | { kind: 'retain' }
  | { kind: 'drop' }

/** One thing to do to an API key's Secret. */
export type KeyStep = { kind: 'issue'; name: string } | { kind: 'replace'; key: ApiKey } | { kind: 'revoke'; key: ApiKey }

/** What a pass will do. */
export type TenantPlan =
  | { kind: 'wait' }
  | { kind: 'place'; placement: Placement }
  | { kind: 'serve'; claim: boolean; steps: DatabaseStep[]; failure: Failure | undefined; keys: KeyStep[] }
  | { kind: 'remove'; steps: DatabaseStep[]; failure: Failure | undefined; keys: KeyStep[] }

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
  const keys = keySteps(world, tenant.spec.apiKeys?.map(({ name }) => name) ?? [])
  if (look.kind === 'blocked')
    return { kind: 'serve', claim, steps: [], failure: { stage: 'Provisioned', reason: look.reason, message: look.message }, keys }
  const conflict = findConflict(world, look.facts)
  const failure: Failure | undefined = conflict && { stage: 'Provisioned', ...conflict }
  return { kind: 'serve', claim, steps: failure === undefined ? provisionSteps(world, look.facts, latest) : [], failure, keys }
}

function planRemoval(world: TenantWorld): TenantPlan {
  const { tenant, look, keys } = world
  const revoke = keys.map((key): KeyStep => ({ kind: 'revoke', key }))
  if (look.kind === 'blocked') {
    const message = `${look.message} The data cannot be ${tenant.spec.deletionPolicy === 'Delete' ? 'removed' : 'kept safe'} before that; if the server is gone for good, remove the finalizer ${TENANT_FINALIZER}.`
    return { kind: 'remove', steps: [], failure: { stage: 'Provisioned', reason: look.reason, message }, keys: revoke }
  }
  const record = look.kind === 'seen' ? look.facts.record : undefined
  if (record === undefined || !isOwn(world, record)) return { kind: 'remove', steps: [], failure: undefined, keys: revoke }
  const step: DatabaseStep = tenant.spec.deletionPolicy === 'Delete' ? { kind: 'drop' } : { kind: 'retain' }
  return { kind: 'remove', steps: [step], failure: undefined, keys: revoke }
}

function provisionSteps({ hasLogin, tenant }: TenantWorld, { record, granted, ...at }: TenantFacts, latest: Latest): DatabaseStep[] {
  if (record === undefined || !record.made) return [{ kind: 'create' }]
  const steps: DatabaseStep[] = []
  const ownDatabase = record.isolation === 'database'
  if (record.owner !== tenant.metadata.uid) steps.push({ kind: 'adopt' })
  else if (record.retained) steps.push({ kind: 'reopen' })
  else if (!granted || (ownDatabase && !hasLogin)) steps.push({ kind: 'grant' })
  const isBehind = at.version < latest.tenant || (ownDatabase && at.baseVersion < latest.database)
  if (isBehind && record.isolation !== 'row') steps.push({ kind: 'migrate', from: at.version })
  return steps
}

function keySteps({ tenant, keys }: TenantWorld, wanted: readonly string[]): KeyStep[] {
  const names = new Map(keys.map((key) => [key.name, key]))
  const issue = wanted.flatMap((name): KeyStep[] => {
    const key = names.get(name)
    if (key === undefined || key.secret !== keySecretName(tenant.metadata.name, name)) return [{ kind: 'issue', name }]
    return key.sha256 === undefined ? [{ kind: 'replace', key }] : []
  })
  const revoke = keys.filter((key) => !wanted.includes(key.name)).map((key): KeyStep => ({ kind: 'revoke', key }))
  return [...issue, ...revoke]
}
