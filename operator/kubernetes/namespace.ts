import type { Log } from '../../config/log.ts'
import { NAMESPACE_IN_USE } from '../../crds/tenant.ts'
import { sleep } from '../loop/clock.ts'
import type { Client } from './client.ts'
import { NAMESPACES, type Resource } from './object.ts'

/**
 * `isUsed`: whether anything is there that has to be seen out before the namespace may go. `held`: what that cannot be done without, and
 * nobody could make anew in a namespace that is deleted.
 */
export type NamespaceOptions = {
  client: Client
  namespace: string
  isUsed: () => boolean
  held: readonly (readonly [resource: Resource, name: string])[]
  signal: AbortSignal
  log: Log
}

const RETRY_MS = 30_000

/**
 * Marks the namespace while it is in use. A label has the admission policy refuse to delete it whole, which would take the operator's rights
 * and its Secrets away before it has seen to the data, and could not be taken back; one that somebody has set to something else stays. For
 * when it is deleted all the same, a finalizer keeps what is `held`, so that an operator that begins anew can end what was begun. Call what
 * it gives whenever `isUsed` may have changed; it never throws.
 */
export function markNamespace(options: NamespaceOptions): () => void {
  const { namespace, isUsed, signal, log } = options
  let marked: boolean | undefined
  let working = false

  async function settle(): Promise<void> {
    for (let used = isUsed(); used !== marked && !signal.aborted; used = isUsed()) {
      try {
        await write(options, used)
        marked = used
      } catch (error) {
        if (!signal.aborted) log.warn({ namespace, err: error }, 'the namespace could not be marked as in use or not')
        await sleep(RETRY_MS, signal)
      }
    }
    working = false
  }

  return () => {
    if (working || marked === isUsed()) return
    working = true
    void settle()
  }
}

async function write(options: NamespaceOptions, used: boolean): Promise<void> {
  const { client, namespace, held, signal } = options
  for (const [resource, name] of held) await hold(options, resource, name, used)
  const found = await client.get(NAMESPACES, namespace, namespace, { signal })
  const label = found?.metadata.labels?.[NAMESPACE_IN_USE]
  if (used ? label !== undefined : label !== 'true') return
  await client.patch(NAMESPACES, namespace, namespace, { metadata: { labels: { [NAMESPACE_IN_USE]: used ? 'true' : null } } }, { signal })
}

async function hold({ client, namespace, signal }: NamespaceOptions, resource: Resource, name: string, used: boolean): Promise<void> {
  const { metadata } = (await client.get(resource, namespace, name, { signal })) ?? {}
  const finalizers = metadata?.finalizers ?? []
  // What is being deleted already can be held no more.
  if (metadata === undefined || finalizers.includes(NAMESPACE_IN_USE) === used || (used && metadata.deletionTimestamp !== undefined)) return
  const others = finalizers.filter((one) => one !== NAMESPACE_IN_USE)
  const { uid, resourceVersion } = metadata
  const change = { uid, resourceVersion, finalizers: used ? [...others, NAMESPACE_IN_USE] : others }
  await client.patch(resource, namespace, name, { metadata: change }, { signal })
}
