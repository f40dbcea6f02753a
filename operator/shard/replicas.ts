import type { Autoscaler, Deployment } from '../kubernetes/object.ts'

/** How many replicas of the runtime may hold connections at once, and the milliseconds that one may take to end. */
export type Replicas = { count: number; graceMs: number }

/** What Kubernetes takes where a Deployment or an autoscaler says nothing. */
const DEFAULTS = { graceSeconds: 30, step: '25%' }

/**
 * As many as the autoscaler may ask for, those of an update beside them, and those on their way out: a pod holds its connections until it has
 * ended, and Kubernetes does not wait for that before it makes the next. Never fewer than there are. Undefined: there is no Deployment.
 */
export function replicasOf(deployment: Deployment | undefined, autoscaler: Autoscaler | undefined): Replicas | undefined {
  if (deployment === undefined) return undefined
  const { spec, status } = deployment
  const scaled = autoscaler?.spec.scaleTargetRef.name === deployment.metadata.name ? autoscaler : undefined
  const graceSeconds = spec.template.spec.terminationGracePeriodSeconds ?? DEFAULTS.graceSeconds
  const most = Math.max(spec.replicas ?? 1, scaled?.spec.maxReplicas ?? 0)
  const { surge, step } = updateOf(spec, most)
  const replaced = step * timesWithin(graceSeconds, spec.minReadySeconds ?? 0)
  const removed = scaled === undefined ? 0 : removedWithin(graceSeconds, scaled, most)
  const leaving = Math.min(most, replaced + removed)
  const there = (status?.replicas ?? 0) + (status?.terminatingReplicas ?? 0)
  return { count: Math.max(most + surge + leaving, there), graceMs: graceSeconds * 1_000 }
}

/** How many an update adds, and how many it replaces at a time; none where it ends all of them first. */
function updateOf({ strategy }: Deployment['spec'], most: number): { surge: number; step: number } {
  if (strategy?.type === 'Recreate') return { surge: 0, step: 0 }
  const { maxSurge = DEFAULTS.step, maxUnavailable = DEFAULTS.step } = strategy?.rollingUpdate ?? {}
  const surge = partOf(maxSurge, most, Math.ceil)
  return { surge, step: Math.max(1, surge + partOf(maxUnavailable, most, Math.floor)) }
}

function partOf(part: number | string, whole: number, round: (value: number) => number): number {
  return typeof part === 'number' ? part : round((Number.parseInt(part, 10) * whole) / 100)
}

/** The most that the autoscaler takes away within so many seconds. */
function removedWithin(seconds: number, { spec }: Autoscaler, most: number): number {
  const { selectPolicy = 'Max', policies = [] } = spec.behavior?.scaleDown ?? {}
  if (selectPolicy === 'Disabled') return 0
  const removed = policies.map(({ type, value, periodSeconds }) => {
    const each = type === 'Percent' ? partOf(`${value}%`, most, Math.ceil) : value
    return each * timesWithin(seconds, periodSeconds)
  })
  if (removed.length === 0) return most
  return selectPolicy === 'Min' ? Math.min(...removed) : Math.max(...removed)
}

/** How often something happens within so many seconds that is `apart` seconds apart at least. */
function timesWithin(seconds: number, apart: number): number {
  return apart === 0 ? Number.MAX_SAFE_INTEGER : Math.ceil(seconds / apart)
}

/** A number that rises at once, and falls when there has been no other fall for a while: those that are too many now need that long to end. */
export class HeldCount {
  #value: number
  #last: number
  #fellAt = 0

  constructor(value: number) {
    this.#value = value
    this.#last = value
  }

  /** Takes the number as it is now. Gives the one that holds, and after how many milliseconds to ask again where that is not yet it. */
  take(wanted: number, holdMs: number, now: number): { count: number; againMs: number | undefined } {
    if (wanted < this.#last) this.#fellAt = now
    this.#last = wanted
    const left = this.#fellAt + holdMs - now
    if (wanted >= this.#value || left <= 0) this.#value = wanted
    return { count: this.#value, againMs: this.#value === wanted ? undefined : left }
  }
}
