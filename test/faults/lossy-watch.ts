import { ROUTING_KEY } from '../../config/routing.ts'
import { tenantName } from '../../operator/postgres/names.ts'
import type { ApiProxy, ProxiedCall } from './api-proxy.ts'
import type { PassingEvent } from './watch-pipe.ts'

/** What the operator hears of a Tenant or Shard: `tenants MODIFIED 2` is the second change of it. The one that is to get lost does. */
export type Hearing = Disposable & {
  /** Every event so far, with the one that got lost. */
  heard: string[]
  /** Whether the one that is to get lost has come, and is lost. */
  wasLost: () => boolean
}

/**
 * Counts the events that tell of a Tenant or a Shard, or of both under one name: of the object itself, of its keys' Secrets, and of what it has in
 * the routing documents and in the Secret of all logins. `lost`: the one that is taken out of the watch.
 */
export function hear(proxy: ApiProxy, name: string, lost?: string): Hearing {
  const heard: string[] = []
  const parts = new Map<string, string>()
  let uid = ''
  let wasLost = false

  function concerns({ type, object }: PassingEvent, kind: string): boolean {
    const { name: of = '', uid: its = '' } = object.metadata
    if (kind === 'tenants' && of === name) uid = its
    if (of === name || of.startsWith(`${name}-apikey-`)) return true
    if (type === 'BOOKMARK' || (kind !== 'configmaps' && kind !== 'secrets')) return false
    const part = partOf(object.data ?? {}, name, uid)
    const before = parts.get(of) ?? NOTHING
    parts.set(of, part)
    return part !== before
  }

  function isLost(event: PassingEvent, { path }: ProxiedCall): boolean {
    const kind = path.slice(path.lastIndexOf('/') + 1)
    if (!concerns(event, kind)) return false
    const what = `${kind} ${event.type} `
    heard.push(`${what}${heard.filter((one) => one.startsWith(what)).length + 1}`)
    const gets = heard.at(-1) === lost
    wasLost ||= gets
    return gets
  }

  return { ...proxy.lose(isLost), heard, wasLost: () => wasLost }
}

/** What a routing document or the Secret of all logins has of it. */
function partOf(data: Record<string, string>, name: string, uid: string): string {
  const { shards = {}, tenants = [] } = JSON.parse(data[ROUTING_KEY] ?? '{}')
  const route = tenants.find((one: { uid: string }) => one.uid === uid)
  return JSON.stringify([shards[name], route, data[name], data[tenantName(uid)]])
}

const NOTHING = partOf({}, '', '')
