import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { ShardSpec } from '../../crds/shard.ts'
import type { DeletionPolicy, Isolation } from '../../crds/tenant.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { type AnyObject, SECRETS, SHARDS, TENANTS } from '../../operator/kubernetes/object.ts'
import { type Store, watch } from '../../operator/kubernetes/watch.ts'
import type { Shard } from '../../operator/shard/observe.ts'
import type { Tenant } from '../../operator/tenant/home.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { keepLog } from '../builders/log.ts'
import { createSubject, type Ground, OPERATIONS, remove } from '../builders/operations.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { type Subject, stateOf } from '../builders/tenant-state.ts'
import { type ApiProxy, startApiProxy } from '../faults/api-proxy.ts'
import { hear } from '../faults/lossy-watch.ts'

const RELIST_SECONDS = 2
/** Lives at once: each waits more than it works, and that of a Shard makes a database. */
const AT_ONCE = { tenants: 10, shards: 5 }
const PATIENCE = { timeout: 90_000, interval: 20 }
const database = `test_${randomBytes(4).toString('hex')}`
const over = new AbortController()
let client: Client
let proxy: ApiProxy
let operator: RunningOperator
let ground: Ground
/** What the test itself hears, by watches that lose nothing. */
let tenants: Store<Tenant>
let shards: Store<Shard>
let secrets: Store<AnyObject>

beforeAll(async () => {
  await installCrds()
  const namespace = await createNamespace()
  await applyShardSecrets(namespace)
  client = connect({ kubeconfig: inject('kubernetes').kubeconfig })
  proxy = await startApiProxy(inject('kubernetes').kubeconfig)
  ground = { client, namespace, database }
  const watched = { onChange: () => undefined, signal: over.signal, log: keepLog() }
  tenants = watch(client, TENANTS, namespace, watched)
  shards = watch(client, SHARDS, namespace, watched)
  secrets = watch(client, SECRETS, namespace, watched)
  await applyAll(namespace, [shardManifest('shard-a', shardSpec(database))])
  operator = await startOperator(namespace, { KUBECONFIG: proxy.kubeconfig, TENANTRY_RELIST_SECONDS: String(RELIST_SECONDS) })
  await kubectl(['wait', '-n', namespace, '--for=condition=Ready', 'shard/shard-a', '--timeout=60s'])
})

afterAll(async () => {
  over.abort()
  await operator?.stop()
  await proxy?.[Symbol.asyncDispose]()
  await client?.close()
})

const until = (holds: () => boolean | undefined) => vi.waitFor(() => expect(holds(), String(holds)).toBe(true), PATIENCE)

/** Waits until the Tenant of this UID says of this generation how it stands, for good. */
function settled({ name, uid }: Subject, generation = 1): Promise<void> {
  return until(() => {
    const { metadata, status } = tenants.get(name) ?? {}
    const ready = status?.conditions?.find(({ type }) => type === 'Ready')
    return metadata?.uid === uid && ready?.observedGeneration === generation && /^(TenantReady|Suspended)$/.test(ready.reason)
  })
}

/** What a life has come to, and what the operator heard of it meanwhile. */
type Lived = { state: unknown; heard: string[]; wasLost: boolean }
type Live = (lost?: string) => Promise<Lived>

/** A Tenant is created, changed, one of its Secrets removed by hand, deleted, and created anew under its name. */
const tenantOf =
  (isolation: Isolation, deletionPolicy: DeletionPolicy): Live =>
  async (lost) => {
    const name = `life-${randomBytes(5).toString('hex')}`
    using hearing = hear(proxy, name, lost)
    const first = await createSubject(ground, isolation, { deletionPolicy }, name)
    await settled(first)
    await OPERATIONS[1]?.begin(first)
    await settled(first, 2)
    const key = `${name}-apikey-main`
    const before = secrets.get(key)?.metadata.uid
    await client.delete(SECRETS, ground.namespace, key)
    await until(() => ![before, undefined].includes(secrets.get(key)?.metadata.uid))
    await remove(first)
    await until(() => tenants.get(name) === undefined)
    const second = await createSubject(ground, isolation, { deletionPolicy }, name)
    await settled(second)
    return { state: await stateOf(second), heard: hearing.heard, wasLost: hearing.wasLost() }
  }

/** A Tenant waits for a Shard of its name, which then comes, is changed, goes after it, and comes again together with it. */
const shardLife: Live = async (lost) => {
  const name = `life-${randomBytes(5).toString('hex')}`
  const own = { ...ground, database: `test_${randomBytes(4).toString('hex')}` }
  using hearing = hear(proxy, name, lost)
  const spec = shardSpec(own.database, { warmSchemas: 0, tls: { mode: 'disable' }, capacity: { tenants: 5, connections: 40 } })
  const createShard = () => client.create(SHARDS, own.namespace, { metadata: { name }, spec: spec as ShardSpec })
  const createTenant = () => createSubject(own, 'schema', { deletionPolicy: 'Delete' }, name, name)
  const first = await createTenant()
  await until(() => tenants.get(name)?.status?.conditions?.some(({ reason }) => reason === 'ShardNotFound'))
  await createShard()
  await settled(first)
  await client.patch(SHARDS, own.namespace, name, { spec: { capacity: { tenants: 7 } } })
  await until(() => shards.get(name)?.status?.observedGeneration === 2)
  await remove(first)
  await client.delete(SHARDS, own.namespace, name)
  await until(() => tenants.get(name) === undefined && shards.get(name) === undefined)
  await createShard()
  const second = await createTenant()
  await settled(second)
  await until(() => shards.get(name)?.status?.tenants === 1)
  return { state: await stateOfBoth(second), heard: hearing.heard, wasLost: hearing.wasLost() }
}

/** The Tenant and its Shard, of the same name, without what counts or names the one life. */
async function stateOfBoth(tenant: Subject): Promise<unknown> {
  const { spec, status, metadata } = shards.get(tenant.name) ?? {}
  const conditions = status?.conditions?.map(({ type, status, reason, message }) => ({ type, status, reason, message }))
  const shard = { spec, status: { ...status, conditions, connections: undefined }, finalizers: metadata?.finalizers }
  const text = JSON.stringify([await stateOf(tenant), shard])
  return JSON.parse(text.replaceAll(tenant.database, '<database>').replaceAll(tenant.name, '<name>'))
}

/** Learns what the operator hears of a life, and lives it once for each event that is meant, which then gets lost. Gives the figure. */
async function loseEach(live: Live, atOnce: number, isMeant: (event: string) => boolean): Promise<string> {
  const { heard, state } = await live()
  const meant = heard.filter(isMeant)
  const queue = [...meant]
  let [passed, slowest] = [0, 0]
  const liveOn = async () => {
    for (let lost = queue.shift(); lost !== undefined; lost = queue.shift()) {
      const since = performance.now()
      const lived = await live(lost)
      expect(lived.state, `without ${lost}`).toEqual(state)
      slowest = Math.max(slowest, (performance.now() - since) / 1_000)
      // What happens between two watches is listed, and cannot get lost.
      if (lived.wasLost) passed += 1
      else queue.push(lost)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, liveOn))
  expect(operator.lines.filter((line) => JSON.parse(line).level === 'error')).toEqual([])
  return `${passed} of ${meant.length} events lost and made good, ${atOnce} lives at once, the longest ${slowest.toFixed(1)} s, a list every ${RELIST_SECONDS} s`
}

const TITLE = 'OP-05: whichever event gets lost, all ends as if none had:'
const SLOW = { timeout: 300_000 }

test(`${TITLE} a Tenant is made, changed, deleted and made again`, SLOW, async () => {
  printFigure(`OP-05: Tenant: ${await loseEach(tenantOf('schema', 'Retain'), AT_ONCE.tenants, () => true)}`)
})

test(`${TITLE} a Tenant’s own login`, SLOW, async () => {
  const isOfLogins = (event: string) => event.startsWith('secrets MODIFIED')
  printFigure(`OP-05: login: ${await loseEach(tenantOf('database', 'Delete'), AT_ONCE.tenants, isOfLogins)}`)
})

test(`${TITLE} a Shard is waited for, made, changed, deleted and made again`, SLOW, async () => {
  const isOfShard = (event: string) => /^shards |^secrets MODIFIED/.test(event)
  printFigure(`OP-05: Shard: ${await loseEach(shardLife, AT_ONCE.shards, isOfShard)}`)
})
