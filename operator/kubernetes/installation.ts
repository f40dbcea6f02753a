import { randomUUID } from 'node:crypto'
import { isStatus } from './api-error.ts'
import type { Client } from './client.ts'
import { CONFIG_MAPS } from './object.ts'

/** The ConfigMap that says which installation the operator of its namespace is. */
export const INSTALLATION = 'tenantry-installation'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The id by which databases are marked as this installation's: made once for a namespace, and the same ever after, also for the next
 * operator. Throws when the ConfigMap holds none, since a new id would find every database to be somebody else's.
 */
export async function readInstallation(client: Client, namespace: string, signal: AbortSignal): Promise<string> {
  const found = (await client.get(CONFIG_MAPS, namespace, INSTALLATION, { signal })) ?? (await create(client, namespace, signal))
  const id = found?.data?.id ?? ''
  if (!UUID.test(id)) throw new Error(`the ConfigMap ${INSTALLATION} has no UUID in lower case under the key id: put the former one back`)
  return id
}

async function create(client: Client, namespace: string, signal: AbortSignal) {
  const made = { metadata: { name: INSTALLATION }, immutable: true, data: { id: randomUUID() } }
  try {
    return await client.create(CONFIG_MAPS, namespace, made, { signal })
  } catch (error) {
    if (!isStatus(error, 409)) throw error
    return client.get(CONFIG_MAPS, namespace, INSTALLATION, { signal })
  }
}
