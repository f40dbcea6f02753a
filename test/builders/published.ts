import { parseRouting, ROUTING_KEY, ROUTING_LABEL, type Route } from '../../config/routing.ts'
import type { ConfigMap } from '../../operator/kubernetes/object.ts'
import { kubectl } from './cluster.ts'

type Published = { document: string; route: Route }

/** The label of the documents that hold routes of tenants. */
export const BUCKETS = `${ROUTING_LABEL}=bucket`

/** A route as the operator has published it, with the name of the document it stands in; undefined: there is none. Throws when a document does not parse. */
export async function published(namespace: string, uid: string): Promise<Published | undefined> {
  return routeAmong(JSON.parse(await kubectl(['get', 'configmaps', '-n', namespace, '-l', BUCKETS, '-o', 'json'])).items, uid)
}

/** The same, out of documents that somebody has read. */
export function routeAmong(documents: readonly ConfigMap[], uid: string): Published | undefined {
  for (const { metadata, data } of documents) {
    const parsed = parseRouting(data?.[ROUTING_KEY] ?? '')
    if (!parsed.ok) throw new Error(`${metadata.name}: ${parsed.faults.join(', ')}`)
    const route = parsed.value.tenants.find((one) => one.uid === uid)
    if (route !== undefined) return { document: metadata.name, route }
  }
  return undefined
}

/** A route as the operator has published it; undefined: there is none. */
export async function publishedRoute(namespace: string, uid: string): Promise<Route | undefined> {
  return (await published(namespace, uid))?.route
}
