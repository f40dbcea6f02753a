import { isDeepStrictEqual } from 'node:util'
import { isTrue } from '../../crds/condition.ts'
import type { ShardReason, ShardStatus } from '../../crds/shard.ts'
import { SHARD_REASONS } from '../../crds/shard.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import { SHARDS } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { Result } from '../loop/controller.ts'
import { latestOf } from '../postgres/migrations.ts'
import type { RoutingPublisher } from '../routing/publish.ts'
import { applyShard } from './apply.ts'
import { observeShard, type Shard } from './observe.ts'
import { planShard } from './plan.ts'
import { keepSpares, type SpareTools } from './spares.ts'
import { type ShardOutcome, shardStatus } from './status.ts'

/** What passes of Shards work with. */
export type ShardContext = SpareTools & {
  client: Client
  namespace: string
  installation: string
  shard: (name: string) => Shard | undefined
  /** How many Tenants are placed on the Shard. */
  countTenants: (shard: string) => number
  routing: RoutingPublisher
  recorder: Recorder
}

const PROBE_AGAIN: Result = { kind: 'requeue', afterMs: 5_000 }
const AT_ONCE: Result = { kind: 'requeue', afterMs: 0 }
const DONE: Result = { kind: 'done' }

/** One pass: looks at the server, sets up what is missing, says how it stands. A Shard that is not Ready, or has tenants under way, is looked at again after 5 s. */
export async function reconcileShard(context: ShardContext, name: string, signal: AbortSignal): Promise<Result> {
  const shard = context.shard(name)
  if (shard === undefined) return forget(context, name)
  const outcome = await setUp(context, shard, signal)
  if (outcome.kind === 'again') return AT_ONCE
  await writeStatus(context, shard, outcome, signal)
  if (outcome.kind !== 'ready') return PROBE_AGAIN
  return (await keepSpares(context, shard)) ? DONE : PROBE_AGAIN
}

async function setUp(context: ShardContext, shard: Shard, signal: AbortSignal): Promise<ShardOutcome | { kind: 'again' }> {
  const { name } = shard.metadata
  let serverVersion: string | undefined
  try {
    const world = await observeShard(context, shard, signal)
    serverVersion = world.server.versionText
    const plan = planShard(world, latestOf(context.migrations))
    if (plan.kind === 'refuse') throw new OperatorError(plan.reason, plan.message)
    await applyShard(context, shard, world, plan.steps, signal)
    if (plan.again) return { kind: 'again' }
    const { host, port, database, tls } = world.access
    await context.routing.putShard(name, { host, port, database, tls })
    await context.connections.up(name, world.access)
    return { kind: 'ready', serverVersion }
  } catch (error) {
    if (!(error instanceof OperatorError) || !isShardReason(error.reason)) throw error
    context.log.warn({ shard: name, reason: error.reason, err: error }, 'a Shard is not Ready')
    context.connections.down(name, error)
    return { kind: 'failed', reason: error.reason, message: error.message, ...(serverVersion === undefined ? {} : { serverVersion }) }
  }
}

/** Where a Shard was stays published as long as a tenant lives there: deleting the object takes nobody down. */
async function forget({ connections, routing, countTenants }: ShardContext, name: string): Promise<Result> {
  await connections.forget(name)
  if (countTenants(name) === 0) await routing.removeShard(name)
  return DONE
}

async function writeStatus(context: ShardContext, shard: Shard, outcome: ShardOutcome, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid } = shard.metadata
  const status = shardStatus(shard, outcome, context.countTenants(name), new Date())
  if (isDeepStrictEqual(status, shard.status)) return
  await context.client.apply(SHARDS, namespace, { metadata: { name, uid }, status }, { subresource: 'status', signal })
  await tell(context, shard, status)
}

async function tell({ recorder }: ShardContext, shard: Shard, status: ShardStatus): Promise<void> {
  const after = status.conditions?.find(({ type }) => type === 'Ready')
  const before = shard.status?.conditions?.find(({ type }) => type === 'Ready')
  if (after === undefined || (before?.status === after.status && before.reason === after.reason)) return
  await recorder.record(shard, after.status === 'True' ? 'Normal' : 'Warning', after.reason, after.message)
}

/** True when Tenants may be served by this Shard as far as its status tells. */
export function isReady(shard: Shard): boolean {
  return isTrue(shard.status?.conditions, 'Ready', shard.metadata.generation ?? 0)
}

function isShardReason(reason: string): reason is ShardReason {
  return reason in SHARD_REASONS
}
