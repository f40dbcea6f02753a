import { LEAST_CONNECTIONS } from '../../config/routing.ts'
import type { ShardConnections } from '../../crds/shard.ts'
import { PROBES } from '../postgres/connections.ts'

/** Who shares the connections of a Shard: the most that the operator has itself, and the most replicas of the runtime at once. */
export type Sharers = { operator: number; replicas: number }

/** A step of a pass of a Shard, and the login that it tries beside it. */
const SHARD_PASS = 2

/** A tenant's own database that is counted in. */
const SAMPLE = 1

/** Who shares: each pass of a Tenant may work in that tenant's own database, besides the pool. */
export function sharersOf(settings: { workers: number; connectionsPerShard: number }, replicas: number): Sharers {
  const { workers, connectionsPerShard } = settings
  return { operator: connectionsPerShard + PROBES + workers + SHARD_PASS + SAMPLE, replicas }
}

/** What the budget leaves for each replica, beside what is in use. */
export function divide(budget: number, { operator, replicas }: Sharers, used: number): ShardConnections {
  return { budget, replicas, perReplica: Math.max(0, Math.floor((budget - operator) / replicas)), used }
}

/** Why the budget is too small, with what to do; undefined: it is enough. */
export function shortage({ budget, perReplica }: ShardConnections, { operator, replicas }: Sharers): string | undefined {
  if (perReplica >= LEAST_CONNECTIONS) return undefined
  const least = operator + replicas * LEAST_CONNECTIONS
  return `spec.capacity.connections is ${budget}, of which the operator needs up to ${operator} and each of ${replicas} replicas of the runtime ${LEAST_CONNECTIONS} at least: set it to ${least} or more.`
}
