import type { Client } from './client.ts'
import type { Lease, Resource } from './object.ts'

/** An object that outlasts the rest of its namespace: in one that is deleted it bears the record of a Lease that nobody can make any more. */
export type StandIn = { resource: Resource; name: string }

const RECORD = 'tenantry.dev/lease'

/** The record, as a Lease would have it, with the version of the object that bears it; undefined when that is gone too. */
export async function readStandIn(
  client: Client,
  namespace: string,
  { resource, name }: StandIn,
  signal: AbortSignal,
): Promise<Lease | undefined> {
  const found = await client.get(resource, namespace, name, { signal })
  return found && withSpec(found)
}

/** Writes the record; refused when the object is no longer as it was read. */
export async function writeStandIn(
  client: Client,
  namespace: string,
  { resource, name }: StandIn,
  { metadata, spec }: Lease,
  signal: AbortSignal,
): Promise<Lease> {
  const { resourceVersion } = metadata
  const change = { metadata: { resourceVersion, annotations: { [RECORD]: JSON.stringify(spec) } } }
  return withSpec(await client.patch(resource, namespace, name, change, { signal }))
}

function withSpec({ apiVersion, kind, metadata }: Lease): Lease {
  const text = metadata.annotations?.[RECORD]
  return { apiVersion, kind, metadata, ...(text === undefined ? {} : { spec: JSON.parse(text) }) }
}
