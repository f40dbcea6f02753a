import type { Recorder } from '../kubernetes/recorder.ts'
import { dataUid, type Tenant } from './home.ts'
import type { ApiKey } from './keys.ts'
import { limitsOf } from './limits.ts'
import type { TenantWorld } from './observe.ts'
import type { DatabaseStep, KeyStep } from './plan.ts'
import type { TenantTools } from './target.ts'

/** What may have been lost by hand, and is put right. */
export const REGAINED = 'The runtime had lost its way to the data, by a right, a role or a login that was taken away, and has it again.'
export const REOPENED = 'The data was marked as only kept, while this Tenant has it, and is in use again.'
export const NEIGHBOURS_MADE = 'A synthetic neighbour of the Shard had lost what is tried at, and was made anew.'

/** Tells of what was changed by hand and has been put right, as one Event for each repair. */
export function repairer(recorder: Recorder, tenant: Tenant): (repair: string) => void {
  return (repair) => void recorder.record(tenant, 'Warning', 'DriftRepaired', repair)
}

/** Tells of steps that people wait for or may wonder about, up to the one that failed. */
export function tellSteps(recorder: Recorder, world: TenantWorld, steps: readonly DatabaseStep[], failed: DatabaseStep | undefined): void {
  const isDone = (kind: DatabaseStep['kind']) => steps.some((step) => step.kind === kind) && failed?.kind !== kind
  if (isDone('adopt')) tellAdoption(recorder, world)
  if (isDone('limit')) tellLimits(recorder, world)
}

function tellAdoption(recorder: Recorder, { tenant, look }: TenantWorld): void {
  const former = look.kind === 'seen' ? look.facts.record?.name : undefined
  void recorder.record(tenant, 'Normal', 'DataAdopted', `Took over the data that Tenant ${former} left under UID ${dataUid(tenant)}.`)
}

function tellLimits(recorder: Recorder, { tenant }: TenantWorld): void {
  const { connections } = limitsOf(tenant.spec)
  const message = `The login of its database has the times of plan ${tenant.spec.plan} and at most ${connections} connections.`
  void recorder.record(tenant, 'Normal', 'LimitsSet', message)
}

/** A key that is made with another token than the route knows had its Secret deleted or overwritten. What was only seen late has the same. */
export function tellLostKeys({ recorder, routing }: TenantTools, tenant: Tenant, steps: readonly KeyStep[], keys: readonly ApiKey[]): void {
  const made = steps.flatMap((step) => (step.kind === 'issue' ? [step.name] : step.kind === 'replace' ? [step.key.name] : []))
  for (const { name, secret, sha256 } of keys) {
    const known = routing.route(dataUid(tenant))?.keys.filter((one) => one.name === name) ?? []
    if (!made.includes(name) || known.length === 0 || known.some((one) => one.sha256 === sha256)) continue
    repairer(recorder, tenant)(`The Secret ${secret} or its token was gone: it holds a new one, and the one before is no longer valid.`)
  }
}
