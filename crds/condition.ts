/** One Kubernetes condition as `metav1.Condition` has it (API conventions, "Typical status properties"). */
export type Condition = {
  type: string
  status: 'True' | 'False' | 'Unknown'
  /** CamelCase word out of a closed list, for programs. */
  reason: string
  /** A sentence for people that names the next step. */
  message: string
  /** RFC 3339, whole seconds: when `status` last changed. */
  lastTransitionTime: string
  /** The `metadata.generation` this condition was worked out for. */
  observedGeneration: number
}

/** What a pass has found out; the time is added when it is set. */
export type Finding = Omit<Condition, 'lastTransitionTime'>

/**
 * Returns `conditions` with `finding` set. `lastTransitionTime` moves only when `status` changes, so that setting the same
 * finding twice gives an equal value; the order of the others stays.
 */
export function setCondition(conditions: readonly Condition[], finding: Finding, now: Date): Condition[] {
  const before = conditions.find((condition) => condition.type === finding.type)
  const time = before?.status === finding.status ? before.lastTransitionTime : toSeconds(now)
  const after: Condition = { ...finding, lastTransitionTime: time }
  return before === undefined ? [...conditions, after] : conditions.map((condition) => (condition === before ? after : condition))
}

/** Returns `conditions` without `type`: for those that stand only while true (Reconciling, Stalled). */
export function removeCondition(conditions: readonly Condition[], type: string): Condition[] {
  return conditions.filter((condition) => condition.type !== type)
}

/** True when the condition of that type is there, is True, and was worked out for this generation. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string, generation: number): boolean {
  return conditions?.some((c) => c.type === type && c.status === 'True' && c.observedGeneration === generation) ?? false
}

function toSeconds(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`
}
