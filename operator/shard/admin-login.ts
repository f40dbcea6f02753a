import { isDeepStrictEqual } from 'node:util'
import type { ShardSpec } from '../../crds/shard.ts'
import type { Client } from '../kubernetes/client.ts'
import type { KubeObject } from '../kubernetes/object.ts'
import type { Access } from '../postgres/connect.ts'
import { readLogin, writeLogin } from '../routing/credentials.ts'

type Shard = Pick<KubeObject<ShardSpec>, 'metadata' | 'spec'>

/**
 * The Secret with each Shard's admin login as it last let the operator in. A namespace that is deleted takes the Secrets of people away
 * first, and nobody can make them anew: this one is held until the last Tenant has been seen out.
 */
export const ADMIN_LOGINS = 'tenantry-admin-logins'

/** Keeps what the Shard was reached with, where it is not kept yet. Gives whether something was. */
export async function keepAdminLogin(
  client: Client,
  shard: Shard,
  { username, password, ca }: Access,
  signal: AbortSignal,
): Promise<boolean> {
  const login = { username, password, ...(ca === undefined ? {} : { ca }) }
  const place = placeOf(client, shard.metadata.namespace, signal)
  const kept = await readLogin(place, shard.metadata.name)
  if (!isDeepStrictEqual(kept, login)) await writeLogin(place, shard.metadata.name, login)
  return kept !== undefined
}

/** What the Shard was last reached with, at the address that it has; undefined when it never was. */
export async function keptAccess(client: Client, { metadata, spec }: Shard, signal: AbortSignal): Promise<Access | undefined> {
  const login = await readLogin(placeOf(client, metadata.namespace, signal), metadata.name)
  return login && { ...spec.endpoint, tls: spec.tls.mode, ...login }
}

/** Keeps it no longer: the Shard is gone. */
export function forgetAdminLogin(client: Client, namespace: string, shard: string, signal: AbortSignal): Promise<void> {
  return writeLogin(placeOf(client, namespace, signal), shard, undefined)
}

function placeOf(client: Client, namespace: string, signal: AbortSignal) {
  return { client, namespace, secret: ADMIN_LOGINS, signal }
}
