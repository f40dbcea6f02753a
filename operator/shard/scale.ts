import type { Log } from '../../config/log.ts'
import { isStatus } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { type AnyObject, AUTOSCALERS, DEPLOYMENTS, type Resource } from '../kubernetes/object.ts'
import { type Store, watch } from '../kubernetes/watch.ts'
import { sleep } from '../loop/clock.ts'
import { HeldCount, replicasOf } from './replicas.ts'

/** `name`: of the Deployment and its autoscaler; `otherwise`: how many replicas there are where there is no Deployment; `before`: how many shared until now. */
export type ScaleOptions = {
  client: Client
  namespace: string
  name: string
  otherwise: number
  before: () => number
  /** Told when another number of replicas holds. */
  onChange: () => void
  /** How often both are listed anew, in milliseconds. */
  relistMs: number
  signal: AbortSignal
  log: Log
}

/** How the runtime may be scaled. */
export type Scale = {
  /** How many replicas may hold connections at once. */
  replicas: () => number
  /** What is watched for it. */
  stores: Record<string, Store<AnyObject>>
}

/** What replicas that no Deployment tells of may take to end. */
const GRACE_MS = 30_000

/**
 * Follows the runtime's Deployment and its autoscaler. A number that is larger holds at once, a smaller one when those that are too many have
 * had their time to end. Resolves when both are known; without the right to look, or without a Deployment, `otherwise` holds.
 */
export async function followScale(options: ScaleOptions): Promise<Scale> {
  const { client, namespace, name, otherwise, before, onChange, relistMs, signal, log } = options
  let held: HeldCount | undefined
  let count = 0
  const open = <O extends AnyObject>(resource: Resource<O>): Store<O> =>
    watch(client, resource, namespace, { fieldSelector: `metadata.name=${name}`, onChange: look, relistMs, signal, log })
  const allowed = (await Promise.all([DEPLOYMENTS, AUTOSCALERS].map((resource) => mayLook(options, resource)))).every(Boolean)
  const deployments = allowed ? open(DEPLOYMENTS) : undefined
  const autoscalers = allowed ? open(AUTOSCALERS) : undefined

  function look(): void {
    if (held === undefined || signal.aborted) return
    const wanted = replicasOf(deployments?.get(name), autoscalers?.get(name)) ?? { count: otherwise, graceMs: GRACE_MS }
    const taken = held.take(wanted.count, wanted.graceMs, performance.now())
    if (taken.againMs !== undefined) void sleep(taken.againMs, signal).then(look)
    if (taken.count === count) return
    if (count !== 0)
      log.info({ replicas: taken.count, before: count }, 'as many replicas of the runtime share the connections of each Shard')
    count = taken.count
    onChange()
  }

  await Promise.all([deployments?.synced, autoscalers?.synced])
  held = new HeldCount(before())
  look()
  return { replicas: () => count, stores: { ...(deployments && { deployments }), ...(autoscalers && { autoscalers }) } }
}

async function mayLook({ client, namespace, name, signal, log }: ScaleOptions, resource: Resource): Promise<boolean> {
  try {
    await client.list(resource, namespace, { fieldSelector: `metadata.name=${name}`, signal })
    return true
  } catch (error) {
    if (!isStatus(error, 403)) throw error
    log.warn(
      { resource: resource.plural, name, err: error },
      'may not be looked at: TENANTRY_RUNTIME_REPLICAS says how many replicas there are',
    )
    return false
  }
}
