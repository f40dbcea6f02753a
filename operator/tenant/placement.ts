import type { Isolation, LabelSelector, TenantReason, TenantSpec } from '../../crds/tenant.ts'

/** A Shard as placement sees it. */
export type Candidate = {
  name: string
  labels: Readonly<Record<string, string>>
  ready: boolean
  /** What is said when it is not. */
  why: string
  schedulable: boolean
  isolations: readonly Isolation[]
  capacity: number
  /** Tenants placed there, those of this moment included. */
  tenants: number
}

/** Where a tenant is to live and why, or why nowhere for now. */
export type Placement =
  | { kind: 'placed'; shard: string; reason: TenantReason; message: string }
  | { kind: 'unplaced'; reason: TenantReason; message: string }

/** Chooses a Shard: the named one, or of those that are possible the one with the smallest part of its capacity taken. */
export function choosePlacement({ isolation, shardRef, placement }: TenantSpec, candidates: readonly Candidate[]): Placement {
  if (shardRef !== undefined) return checkNamed(shardRef.name, isolation, candidates)
  const matching = candidates.filter((candidate) => matches(placement?.shardSelector, candidate.labels))
  const [best] = matching.filter((candidate) => obstacle(candidate, isolation) === undefined).sort(byLoad)
  if (best === undefined) return unplaced('NoShardAvailable', noneMessage(candidates, matching, isolation))
  const message = `Placed on Shard ${best.name}, the least loaded (${best.tenants} of ${best.capacity}) of ${matching.length} considered.`
  return { kind: 'placed', shard: best.name, reason: 'LeastLoadedShard', message }
}

function checkNamed(name: string, isolation: Isolation, candidates: readonly Candidate[]): Placement {
  const shard = candidates.find((candidate) => candidate.name === name)
  if (shard === undefined) return unplaced('ShardNotFound', `Create the Shard ${name} or name another in spec.shardRef.name.`)
  const found = obstacle(shard, isolation)
  return found ?? { kind: 'placed', shard: name, reason: 'NamedShard', message: `Placed on Shard ${name}, which spec.shardRef names.` }
}

function obstacle(
  { name, ready, why, schedulable, isolations, capacity, tenants }: Candidate,
  isolation: Isolation,
): Placement | undefined {
  if (!ready) return unplaced('ShardNotReady', why)
  if (!schedulable)
    return unplaced('ShardCordoned', `The Shard ${name} takes no new Tenants: set its spec.schedulable to true or name another.`)
  if (!isolations.includes(isolation))
    return unplaced(
      'IsolationNotOffered',
      `The Shard ${name} does not accept isolation ${isolation}: add it to its spec.isolations or name another.`,
    )
  if (tenants >= capacity)
    return unplaced('ShardFull', `The Shard ${name} is full (${tenants} of ${capacity}): raise its spec.capacity.tenants or name another.`)
  return undefined
}

function noneMessage(candidates: readonly Candidate[], matching: readonly Candidate[], isolation: Isolation): string {
  if (candidates.length === 0) return 'There is no Shard: create one.'
  if (matching.length === 0)
    return `None of the ${candidates.length} Shards has the labels of spec.placement.shardSelector: label one or change the selector.`
  const count = (reason: TenantReason) => matching.filter((candidate) => obstacle(candidate, isolation)?.reason === reason).length
  const ill = matching.find(({ ready }) => !ready)
  const next = 'add a Shard or raise spec.capacity.tenants of one.'
  return `Of ${matching.length} Shards ${count('ShardNotReady')} are not Ready, ${count('ShardCordoned')} are not schedulable, ${count('IsolationNotOffered')} do not accept isolation ${isolation}, ${count('ShardFull')} are full: ${next}${ill === undefined ? '' : ` ${ill.why}`}`
}

/** True when the labels satisfy every part of the selector, as in Kubernetes; no selector is satisfied by all. */
export function matches(selector: LabelSelector | undefined, labels: Readonly<Record<string, string>>): boolean {
  const equal = Object.entries(selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value)
  return equal && (selector?.matchExpressions ?? []).every((expression) => satisfies(expression, labels))
}

function satisfies(
  { key, operator, values = [] }: NonNullable<LabelSelector['matchExpressions']>[number],
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = labels[key]
  switch (operator) {
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
  }
}

function byLoad(a: Candidate, b: Candidate): number {
  return a.tenants / a.capacity - b.tenants / b.capacity || a.tenants - b.tenants || (a.name < b.name ? -1 : 1)
}

function unplaced(reason: TenantReason, message: string): Placement & { kind: 'unplaced' } {
  return { kind: 'unplaced', reason, message }
}
