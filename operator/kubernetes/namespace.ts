import { NAMESPACE_IN_USE } from '../../crds/tenant.ts'
import { sleep } from '../loop/clock.ts'
import type { Logger } from '../loop/logger.ts'
import type { Client } from './client.ts'
import { NAMESPACES } from './object.ts'

/** `isUsed`: whether anything is there that has to be seen out before the namespace may go. */
export type NamespaceOptions = { client: Client; namespace: string; isUsed: () => boolean; signal: AbortSignal; log: Logger }

const RETRY_MS = 30_000

/**
 * Labels the namespace while it is in use, so that the admission policy refuses to delete it whole: that would take the operator's rights
 * and its Secrets away before it has seen to the data, and could not be taken back. A label that somebody has set to something else stays.
 * Call what it gives whenever `isUsed` may have changed; it never throws.
 */
export function markNamespace({ client, namespace, isUsed, signal, log }: NamespaceOptions): () => void {
  let marked: boolean | undefined
  let working = false

  async function settle(): Promise<void> {
    for (let used = isUsed(); used !== marked && !signal.aborted; used = isUsed()) {
      try {
        await write(client, namespace, used, signal)
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

async function write(client: Client, namespace: string, used: boolean, signal: AbortSignal): Promise<void> {
  const found = await client.get(NAMESPACES, namespace, namespace, { signal })
  const label = found?.metadata.labels?.[NAMESPACE_IN_USE]
  if (used ? label !== undefined : label !== 'true') return
  await client.patch(NAMESPACES, namespace, namespace, { metadata: { labels: { [NAMESPACE_IN_USE]: used ? 'true' : null } } }, { signal })
}
