import { createHash, randomBytes } from 'node:crypto'
import type { Route } from '../../config/routing.ts'
import { OperatorError } from '../errors.ts'
import { isStatus } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { apiVersionOf, type ObjectMeta, SECRETS, type Secret, TENANTS } from '../kubernetes/object.ts'
import type { LastWrites } from './last-writes.ts'

/** On a Secret that holds an API key: the key's name. Only Secrets with this label, and the UID of their Tenant in the other, are ever read. */
export const KEY_LABEL = 'tenantry.dev/api-key'
const TENANT_UID_LABEL = 'tenantry.dev/tenant-uid'

/** An API key of a Tenant, as its Secret has it. `sha256` is undefined when the Secret holds no token of ours. */
export type ApiKey = { name: string; secret: string; uid: string; sha256: string | undefined }

const TOKEN = /^tnt_[A-Za-z0-9_-]{43}$/

/** The Secret of a key. */
export function keySecretName(tenant: string, key: string): string {
  return `${tenant}-apikey-${key}`
}

/** Reads a Secret that carries our labels; undefined when it is not this Tenant's. */
export function readKey({ metadata, data }: Secret, tenantUid: string): ApiKey | undefined {
  const name = metadata.labels?.[KEY_LABEL]
  if (name === undefined || metadata.labels?.[TENANT_UID_LABEL] !== tenantUid) return undefined
  const token = Buffer.from(data?.token ?? '', 'base64').toString('utf8')
  return { name, secret: metadata.name, uid: metadata.uid, sha256: TOKEN.test(token) ? hash(token) : undefined }
}

/** The keys as a route has them. */
export function routeKeys(keys: readonly ApiKey[]): Route['keys'] {
  return keys.flatMap(({ name, sha256 }) => (sha256 === undefined ? [] : [{ name, sha256 }]))
}

/**
 * Makes the Secret with a new token, once: when it is there already and marked as ours, it is taken as it is. Throws NameConflict when
 * the name belongs to a Secret of somebody else, which is not read.
 */
export async function issueKey(
  { client, writes }: { client: Client; writes: LastWrites },
  owner: ObjectMeta,
  key: string,
  signal: AbortSignal,
): Promise<ApiKey> {
  const { name, namespace, uid } = owner
  const secret = keySecretName(name, key)
  const labels = { [KEY_LABEL]: key, [TENANT_UID_LABEL]: uid }
  const ownerReferences = [
    { apiVersion: apiVersionOf(TENANTS), kind: TENANTS.kind, name, uid, controller: true, blockOwnerDeletion: false },
  ]
  try {
    const made = await client.create(
      SECRETS,
      namespace,
      { metadata: { name: secret, labels, ownerReferences }, type: 'Opaque', data: newToken() },
      { signal },
    )
    writes.note(made.metadata, true)
    return { name: key, secret, uid: made.metadata.uid, sha256: readKey(made, uid)?.sha256 }
  } catch (error) {
    if (!isStatus(error, 409)) throw error
    const { items } = await client.list(SECRETS, namespace, {
      labelSelector: `${TENANT_UID_LABEL}=${uid}`,
      fieldSelector: `metadata.name=${secret}`,
      signal,
    })
    const [found] = items.flatMap((item) => readKey(item, uid) ?? [])
    if (found === undefined)
      throw new OperatorError(
        'NameConflict',
        `The Secret ${secret} exists and is not this Tenant's: remove it, or name the API key ${key} otherwise.`,
      )
    return found
  }
}

/** Puts a new token into a Secret of ours that has lost its own. */
export async function replaceToken(client: Client, namespace: string, key: ApiKey, signal: AbortSignal): Promise<ApiKey> {
  const data = newToken()
  await client.patch(SECRETS, namespace, key.secret, { metadata: { uid: key.uid }, data }, { signal })
  return { ...key, sha256: hash(Buffer.from(data.token, 'base64').toString('utf8')) }
}

function newToken(): { token: string } {
  return { token: Buffer.from(`tnt_${randomBytes(32).toString('base64url')}`).toString('base64') }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
