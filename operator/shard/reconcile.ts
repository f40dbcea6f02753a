import { isDeepStrictEqual } from 'node:util'
import { LEAST_CONNECTIONS } from '../../config/routing.ts'
import { isTrue } from '../../crds/condition.ts'
import type { ShardConnections, ShardReason, ShardStatus } from '../../crds/shard.ts'
import { SHARD_FINALIZER, SHARD_REASONS } from '../../crds/shard.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import { type ObjectMeta, SHARDS } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { Result } from '../loop/controller.ts'
import { openDatabase, tryLogin } from '../postgres/connect.ts'
import { latestOf } from '../postgres/migrations.ts'
import { prepareSpare } from '../postgres/statements.ts'
import { warnOfVersion } from '../postgres/vulnerabilities.ts'
import type { RoutingPublisher } from '../routing/publish.ts'
import { forgetAdminLogin, keepAdminLogin } from './admin-login.ts'
import { applyShard } from './apply.ts'
import { divide, type Sharers, shortage } from './budget.ts'
import { observeShard, type Shard, type ShardWorld } from './observe.ts'
import { planShard, type ShardStep } from './plan.ts'
import { releaseShard } from './release.ts'
import { ADMIN_LOGIN_LOST, type Repair, repairOf } from './repairs.ts'
import { applyRotation } from './rotate.ts'
import { planRotation } from './rotation.ts'
import type { Settling } from './settling.ts'
import { keepSpares, type SpareTools } from './spares.ts'
import { type ShardOutcome, shardStatus, withSteadyUse } from './status.ts'

/** What passes of Shards work with. */
export type ShardContext = SpareTools & {
  client: Client
  namespace: string
  installation: string
  shard: (name: string) => Shard | undefined
  /** How many Tenants are placed on the Shard. */
  countTenants: (shard: string) => number
  sharers: Sharers
  settling: Settling
  routing: RoutingPublisher
  recorder: Recorder
}

const PROBE_AGAIN: Result = { kind: 'requeue', afterMs: 5_000 }
const MIGRATE_AGAIN_MS = 5_000
const SETTLE_AGAIN_MS = 1_000
const AT_ONCE: Result = { kind: 'requeue', afterMs: 0 }
const DONE: Result = { kind: 'done' }

/**
 * One pass: looks at the server, sets up what is missing, says how it stands; one that is to be deleted goes when no Tenant lives there. A
 * Shard that is not Ready, or has tenants under way, is looked at again after 5 s.
 */
export async function reconcileShard(context: ShardContext, name: string, signal: AbortSignal): Promise<Result> {
  const shard = context.shard(name)
  if (shard === undefined) return forget(context, name)
  const deleting = shard.metadata.deletionTimestamp !== undefined
  if (deleting && context.countTenants(name) === 0) return letGo(context, shard, signal)
  if (!deleting) await claim(context.client, shard, signal)
  const outcome = await setUp(context, shard, signal)
  if (outcome.kind === 'again') return AT_ONCE
  await writeStatus(context, shard, outcome, signal)
  if (outcome.kind !== 'ready') return PROBE_AGAIN
  if (!(await keepSpares(context, shard))) return PROBE_AGAIN
  return outcome.nextMs === undefined ? DONE : { kind: 'requeue', afterMs: outcome.nextMs }
}

async function setUp(context: ShardContext, shard: Shard, signal: AbortSignal): Promise<ShardOutcome | { kind: 'again' }> {
  const { name } = shard.metadata
  const seen: Pick<ShardOutcome, 'serverVersion' | 'connections'> = {}
  const tellRepair = repairTeller(context, shard)
  try {
    const world = await observeShard(context, shard, signal)
    seen.serverVersion = world.server.versionText
    const plan = planShard(world, latestOf(context.migrations))
    if (plan.kind === 'refuse') throw new OperatorError(plan.reason, plan.message)
    if (world.secretGone !== undefined) {
      // Nothing is made any more: only those who live there are still reached, until they have left.
      await context.connections.up(name, world.access)
      return { kind: 'failed', ...world.secretGone, ...seen }
    }
    const onDone = (step: ShardStep) => tellRepair(repairOf(world, plan.steps, step))
    const behind = await applyShard({ ...context, onDone }, shard, world, plan.steps, signal)
    if (plan.again) return { kind: 'again' }
    seen.connections = divide(shard.spec.capacity.connections, context.sharers, world.database?.used ?? 0)
    const tooSmall = shortage(seen.connections, context.sharers)
    const settles = await publish(context, name, world, seen.connections)
    const isKept = await keepAdminLogin(context.client, shard, world.access, signal)
    if (!isKept) tellRepair(ADMIN_LOGIN_LOST)
    await context.connections.up(name, world.access)
    const rotateMs = await rotateCredentials(context, shard, world, signal)
    if (tooSmall !== undefined) return { kind: 'failed', reason: 'ConnectionBudgetTooSmall', message: tooSmall, ...seen }
    const soon = settles ? SETTLE_AGAIN_MS : rotateMs
    const nextMs = behind === undefined ? soon : await tellBehind(context, shard, behind)
    return { kind: 'ready', ...seen, serverVersion: world.server.versionText, warning: warnOfVersion(world.server.version), nextMs }
  } catch (error) {
    if (!(error instanceof OperatorError) || !isShardReason(error.reason)) throw error
    context.log.warn({ shard: name, reason: error.reason, err: error }, 'a Shard is not Ready')
    context.connections.down(name, error)
    return { kind: 'failed', reason: error.reason, message: error.message, ...seen }
  }
}

/**
 * Tells the runtimes where the Shard is and how many connections each may have: where the budget is too small, those they need at least, so that
 * who lives here is served. Tells whether a smaller share has yet to be taken over.
 */
async function publish({ routing, settling }: ShardContext, name: string, world: ShardWorld, budget: ShardConnections): Promise<boolean> {
  const { host, port, database, tls } = world.access
  const connections = Math.max(budget.perReplica, LEAST_CONNECTIONS)
  const settles = settling.isOn(name, routing.shard(name), connections, world.database?.usedByOne ?? 0, performance.now())
  await routing.putShard(name, { host, port, database, tls, connections, ...(settles ? { settling: true } : {}) })
  settling.published(name, settles, performance.now())
  return settles
}

/**
 * What is missing on a Shard that was set up once, as it is now asked for, was taken away by hand: that is something to look into. It need not
 * be Ready: a pass may have failed half way, and the next one mends the rest.
 */
function repairTeller({ recorder, routing }: ShardContext, shard: Shard): (repair: Repair | undefined) => void {
  const { name, generation } = shard.metadata
  const wasSetUp = routing.shard(name) !== undefined && shard.status?.observedGeneration === generation
  return (repair) => {
    if (repair !== undefined && wasSetUp) void recorder.record(shard, 'Warning', repair.reason, repair.message)
  }
}

/** The tenants of the shared tables say SchemaBehind until the migration is through. Gives when it is tried again. */
async function tellBehind({ log, recorder }: ShardContext, shard: Shard, err: OperatorError): Promise<number> {
  log.warn({ shard: shard.metadata.name, err }, 'the shared tables could not be migrated')
  const message = `The shared tables could not be migrated, and are served as they are: ${err.message}`
  await recorder.record(shard, 'Warning', 'MigrationFailed', message)
  return MIGRATE_AGAIN_MS
}

/** Gives when there is more to do; the Shard is as Ready as it was, with the login it has. */
async function rotateCredentials(context: ShardContext, shard: Shard, world: ShardWorld, signal: AbortSignal): Promise<number | undefined> {
  const { access, names, credentials } = world
  const isKnown = credentials?.username === names.login && world.loginWorks
  const turn = world.database !== undefined && isKnown ? { issuedAt: credentials.issuedAt, spare: world.database.spare } : undefined
  const rotation = planRotation(turn, shard.spec.credentials?.rotateAfter, Date.now())
  if (credentials === undefined || rotation.steps.length === 0) return rotation.nextMs
  const database = openDatabase(access)
  const logins = {
    object: shard,
    key: shard.metadata.name,
    before: credentials,
    spare: names.spare,
    prepare: (verifier: string) => prepareSpare(names, world.database?.roles ?? [], verifier),
    prove: (password: string) => tryLogin({ ...access, username: names.spare, password }),
    database,
  }
  try {
    return await applyRotation(context, logins, rotation, signal)
  } finally {
    await database.close()
  }
}

/** From now on the Shard stays while a Tenant lives there. */
async function claim(client: Client, { metadata }: Shard, signal: AbortSignal): Promise<void> {
  const { finalizers = [] } = metadata
  if (!finalizers.includes(SHARD_FINALIZER)) await setFinalizers(client, metadata, [...finalizers, SHARD_FINALIZER], signal)
}

/** Nobody lives there: the runtime forgets the Shard before its logins are closed, the finalizer goes last. */
async function letGo(context: ShardContext, shard: Shard, signal: AbortSignal): Promise<Result> {
  const { finalizers = [], name } = shard.metadata
  if (!finalizers.includes(SHARD_FINALIZER)) return DONE
  await context.routing.removeShard(name)
  await releaseShard(context, shard, signal)
  await forgetAdminLogin(context.client, context.namespace, name, signal)
  await context.connections.forget(name)
  await setFinalizers(
    context.client,
    shard.metadata,
    finalizers.filter((finalizer) => finalizer !== SHARD_FINALIZER),
    signal,
  )
  return DONE
}

/** Refused when the Shard is no longer the one that was looked at. */
async function setFinalizers(client: Client, metadata: ObjectMeta, finalizers: string[], signal: AbortSignal): Promise<void> {
  const { name, namespace, uid, resourceVersion } = metadata
  await client.patch(SHARDS, namespace, name, { metadata: { uid, resourceVersion, finalizers } }, { signal })
}

/** Where a Shard was stays published as long as a tenant lives there: an object that went without our finalizer takes nobody down. */
async function forget({ connections, routing, countTenants }: ShardContext, name: string): Promise<Result> {
  await connections.forget(name)
  if (countTenants(name) === 0) await routing.removeShard(name)
  return DONE
}

async function writeStatus(context: ShardContext, shard: Shard, outcome: ShardOutcome, signal: AbortSignal): Promise<void> {
  const { name, namespace, uid } = shard.metadata
  const status = shardStatus(shard, outcome, context.countTenants(name), new Date())
  if (isDeepStrictEqual(withSteadyUse(status, shard.status), shard.status)) return
  await context.client.apply(SHARDS, namespace, { metadata: { name, uid }, status }, { subresource: 'status', signal })
  await tell(context, shard, status)
  if (outcome.kind === 'ready') await warn(context, shard, outcome)
}

/** What is known against the server's version is an Event when the status begins to say so. */
async function warn({ recorder }: ShardContext, shard: Shard, { warning }: { warning?: string | undefined }): Promise<void> {
  if (warning === undefined || shard.status?.conditions?.some(({ message }) => message.includes(warning))) return
  await recorder.record(shard, 'Warning', 'VersionVulnerable', warning)
}

async function tell({ recorder }: ShardContext, shard: Shard, status: ShardStatus): Promise<void> {
  const remain = (one: ShardStatus | undefined) => one?.conditions?.find(({ reason }) => reason === 'TenantsRemain')
  const stalled = remain(status)
  if (stalled !== undefined && remain(shard.status) === undefined) await recorder.record(shard, 'Warning', stalled.reason, stalled.message)
  const after = status.conditions?.find(({ type }) => type === 'Ready')
  const before = shard.status?.conditions?.find(({ type }) => type === 'Ready')
  if (after === undefined || (before?.status === after.status && before.reason === after.reason)) return
  await recorder.record(shard, after.status === 'True' ? 'Normal' : 'Warning', after.reason, after.message)
}

/** True when Tenants may be served by this Shard as far as its status tells. */
export function isReady(shard: Shard): boolean {
  return isTrue(shard.status?.conditions, 'Ready', shard.metadata.generation ?? 0)
}

/** What a Tenant that waits for a Shard says of it, with the Shard's own next step where it is known. */
export function whyNotReady({ metadata: { name, generation }, status }: Shard): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')
  const isKnown = ready !== undefined && ready.status === 'False' && ready.observedGeneration === generation
  const why = isKnown ? `(${ready.reason}): ${ready.message}` : 'yet: see its conditions.'
  return `The Shard ${name} is not Ready ${why} This Tenant goes on by itself.`
}

function isShardReason(reason: string): reason is ShardReason {
  return reason in SHARD_REASONS
}
