import { setTimeout as sleep } from 'node:timers/promises'
import { isTrue } from '../../crds/condition.ts'
import type { Isolation } from '../../crds/tenant.ts'
import { type Client, connect } from '../../operator/kubernetes/client.ts'
import { EVENTS, TENANTS } from '../../operator/kubernetes/object.ts'
import { watch } from '../../operator/kubernetes/watch.ts'
import type { Platform } from './platform.ts'

/** How many Tenants a round makes, of which isolation. */
export type Load = { prefix: string; count: number; isolation: Isolation }

/** Creations under way at once: more would only measure how many TLS connections the API server can open. */
export const IN_FLIGHT = 16
const NAMESPACE = 'tenantry'
const QUIET = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/** Seconds until the last of the new Tenants is Ready; then they are deleted, data and all, for the next round. */
export async function applyTenants({ kubeconfig }: Platform, { prefix, count, isolation }: Load): Promise<number> {
  const client = connect({ kubeconfig })
  const ended = new AbortController()
  const { promise: done, resolve } = Promise.withResolvers<void>()
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
  const missing = new Set(names)
  const onChange = (name: string) => {
    const tenant = store.get(name)
    if (isTrue(tenant?.status?.conditions, 'Ready', tenant?.metadata.generation ?? 0)) missing.delete(name)
    if (missing.size === 0) resolve()
  }
  const store = watch(client, TENANTS, NAMESPACE, { onChange, signal: ended.signal, log: QUIET })
  await store.synced
  const started = performance.now()
  await inParallel(IN_FLIGHT, names, (name) => createTenant(client, NAMESPACE, name, isolation))
  await done
  const seconds = (performance.now() - started) / 1000
  ended.abort()
  await remove(client, names)
  await client.close()
  return seconds
}

/** Creates one Tenant, with an API key. */
export function createTenant(client: Client, namespace: string, name: string, isolation: Isolation) {
  const spec = {
    plan: 'free' as const,
    isolation,
    shardRef: { name: 'shard-a' },
    apiKeys: [{ name: 'main', scopes: ['tasks:read' as const, 'tasks:write' as const] }],
    deletionPolicy: 'Delete' as const,
    suspended: false,
    deletionProtection: false,
  }
  return client.create(TENANTS, namespace, { metadata: { name }, spec })
}

/** Does the work for each, so many at once. */
export async function inParallel<T>(width: number, items: Iterable<T>, work: (item: T, index: number) => Promise<unknown>): Promise<void> {
  const queue = items[Symbol.iterator]()
  let index = 0
  const some = async () => {
    for (let one = queue.next(); one.done !== true; one = queue.next()) await work(one.value, index++)
  }
  await Promise.all(Array.from({ length: width }, some))
}

async function remove(client: Client, names: readonly string[]): Promise<void> {
  await inParallel(IN_FLIGHT, names, (name) => client.delete(TENANTS, NAMESPACE, name))
  const gone = new Set(names)
  const left = async () => (await client.list(TENANTS, NAMESPACE)).items.some(({ metadata }) => gone.has(metadata.name))
  while (await left()) await sleep(500)
  await quiet(client)
}

/** Until nothing is told of the round any more: the next one is not to pay for it. */
async function quiet(client: Client): Promise<void> {
  const told = async () => (await client.list(EVENTS, NAMESPACE)).items.length
  for (let before = -1, now = await told(); now !== before; ) {
    await sleep(1_000)
    before = now
    now = await told()
  }
}
