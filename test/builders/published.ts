import { parseRouting, ROUTING_KEY, ROUTING_LABEL, type Route } from '../../config/routing.ts'
import { kubectl } from './cluster.ts'

/** A route as the operator has published it, with the name of the document it stands in; undefined: there is none. Throws when a document does not parse. */
export async function published(namespace: string, uid: string): Promise<{ document: string; route: Route } | undefined> {
  const { items } = JSON.parse(await kubectl(['get', 'configmaps', '-n', namespace, '-l', `${ROUTING_LABEL}=bucket`, '-o', 'json']))
  for (const { metadata, data } of items) {
    const parsed = parseRouting(data[ROUTING_KEY])
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
