import { createHash, randomBytes } from 'node:crypto'
import { KEY_PREFIX_LENGTH, type Route } from '../../config/routing.ts'
import type { ApiKeySpec } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import { isStatus } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { apiVersionOf, type ObjectMeta, SECRETS, type Secret, TENANTS } from '../kubernetes/object.ts'
import type { LastWrites } from './last-writes.ts'

/** On a Secret that holds an API key: the key's name. Only Secrets with this label, and the UID of their Tenant in the other, are ever read. */
export const KEY_LABEL = 'tenantry.dev/api-key'
const TENANT_UID_LABEL = 'tenantry.dev/tenant-uid'

type KeyTools = { client: Client; writes: LastWrites }

/** On a key's Secret: when its token was made anew, and the hash of the one before with the end of its time. */
const ROTATED_AT = 'tenantry.dev/rotated-at'
const PREVIOUS_HASH = 'tenantry.dev/previous-sha256'
const PREVIOUS_UNTIL = 'tenantry.dev/previous-until'

/**
 * An API key of a Tenant, as its Secret has it. `sha256`, and `prefix`, the part of the token that is no secret, are undefined when the
 * Secret holds no token of ours; `previous` is a token that was replaced and is still valid for a while. Times are milliseconds since 1970.
 */
export type ApiKey = {
  name: string
  secret: string
  uid: string
  resourceVersion: string
  sha256: string | undefined
  prefix: string | undefined
  issuedAt: number
  previous: { sha256: string; until: number } | undefined
}

const TOKEN = /^tnt_[A-Za-z0-9_-]{43}$/
const HASH = /^[0-9a-f]{64}$/

const NO_TOKEN = { sha256: undefined, prefix: undefined }

/** The Secret of a key. */
export function keySecretName(tenant: string, key: string): string {
  return `${tenant}-apikey-${key}`
}

/** The UID of the Tenant whose key a Secret holds, as its label tells. */
export function keyOwner({ metadata }: Pick<Secret, 'metadata'>): string | undefined {
  return metadata.labels?.[TENANT_UID_LABEL]
}

/** Reads the Secrets that carry our labels and are this Tenant's. */
export function readKeys(secrets: Iterable<Secret>, tenantUid: string): ApiKey[] {
  return Array.from(secrets).flatMap((secret) => readKey(secret, tenantUid) ?? [])
}

function readKey({ metadata, data }: Secret, tenantUid: string): ApiKey | undefined {
  const name = metadata.labels?.[KEY_LABEL]
  if (name === undefined || keyOwner({ metadata }) !== tenantUid) return undefined
  const token = Buffer.from(data?.token ?? '', 'base64').toString('utf8')
  const { uid, resourceVersion, annotations = {}, creationTimestamp } = metadata
  const issuedAt = Date.parse(annotations[ROTATED_AT] ?? creationTimestamp)
  const known = TOKEN.test(token) ? { sha256: hash(token), prefix: token.slice(0, KEY_PREFIX_LENGTH) } : NO_TOKEN
  return { name, secret: metadata.name, uid, resourceVersion, ...known, issuedAt, previous: previousIn(annotations) }
}

function previousIn(annotations: Readonly<Record<string, string>>): ApiKey['previous'] {
  const sha256 = annotations[PREVIOUS_HASH] ?? ''
  const until = Date.parse(annotations[PREVIOUS_UNTIL] ?? '')
  return HASH.test(sha256) && Number.isFinite(until) ? { sha256, until } : undefined
}

/** The keys as a route has them at a time, those that are wanted: beside each its predecessor, as long as that is valid. */
export function routeKeys(wanted: readonly ApiKeySpec[], keys: readonly ApiKey[], now: number): Route['keys'] {
  return wanted.flatMap(({ name, scopes, expiresAt }) => {
    const key = keys.find((one) => one.name === name)
    if (key === undefined) return []
    const rights = { scopes, ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }) }
    const { sha256, prefix, previous } = key
    return [
      ...(sha256 === undefined || prefix === undefined ? [] : [{ name, sha256, prefix, ...rights }]),
      // Of a token that was replaced only the hash was kept.
      ...(previous === undefined || previous.until <= now ? [] : [{ name, sha256: previous.sha256, ...rights }]),
    ]
  })
}

/**
 * Makes the Secret with a new token, once: when it is there already and marked as ours, it is taken as it is. Throws NameConflict when
 * the name belongs to a Secret of somebody else, which is not read.
 */
export async function issueKey({ client, writes }: KeyTools, owner: ObjectMeta, key: string, signal: AbortSignal): Promise<ApiKey> {
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
    const issued = readKey(made, uid)
    if (issued === undefined) throw new Error(`the Secret ${secret} came back without its labels`)
    return issued
  } catch (error) {
    if (!isStatus(error, 409)) throw error
    const { items } = await client.list(SECRETS, namespace, {
      labelSelector: `${TENANT_UID_LABEL}=${uid}`,
      fieldSelector: `metadata.name=${secret}`,
      signal,
    })
    const [found] = readKeys(items, uid)
    if (found === undefined)
      throw new OperatorError(
        'NameConflict',
        `The Secret ${secret} exists and is not this Tenant's: remove it, or name the API key ${key} otherwise.`,
      )
    return found
  }
}

/** Removes the Secrets of a Tenant's keys, also those that no watch has told of: the next Tenant of its name would stumble over them. */
export async function revokeAll(client: Client, { namespace, uid }: ObjectMeta, signal: AbortSignal): Promise<void> {
  const { items } = await client.list(SECRETS, namespace, { labelSelector: `${TENANT_UID_LABEL}=${uid}`, signal })
  for (const key of readKeys(items, uid)) await client.delete(SECRETS, namespace, key.secret, { uid: key.uid, signal })
}

/** Puts a new token into a Secret of ours that has lost its own. */
export function replaceToken(tools: KeyTools, namespace: string, key: ApiKey, signal: AbortSignal): Promise<ApiKey> {
  return writeToken(tools, namespace, key, {}, signal)
}

/**
 * Puts a new token beside the hash of the one before, which stays valid until `until`. Refused when the Secret is no longer the one that was
 * looked at: a token that was just given out is not replaced again.
 */
export function rotateToken(tools: KeyTools, namespace: string, key: ApiKey, until: number, signal: AbortSignal): Promise<ApiKey> {
  const { resourceVersion, sha256 } = key
  const annotations = { [PREVIOUS_HASH]: sha256, [PREVIOUS_UNTIL]: new Date(until).toISOString() }
  return writeToken(tools, namespace, key, { resourceVersion, annotations }, signal)
}

/** Takes the hash of a token off whose time is over. */
export async function forgetPrevious(client: Client, namespace: string, key: ApiKey, signal: AbortSignal): Promise<ApiKey> {
  const annotations = { [PREVIOUS_HASH]: null, [PREVIOUS_UNTIL]: null }
  await client.patch(SECRETS, namespace, key.secret, { metadata: { uid: key.uid, annotations } }, { signal })
  return { ...key, previous: undefined }
}

async function writeToken(
  { client, writes }: KeyTools,
  namespace: string,
  key: ApiKey,
  { annotations, ...guards }: { resourceVersion?: string; annotations?: Record<string, string | undefined> },
  signal: AbortSignal,
): Promise<ApiKey> {
  const noted = { ...annotations, [ROTATED_AT]: new Date().toISOString() }
  const change = { metadata: { uid: key.uid, ...guards, annotations: noted }, data: newToken() }
  const written = await client.patch(SECRETS, namespace, key.secret, change, { signal })
  writes.note(written.metadata, true)
  return readKey(written, written.metadata.labels?.[TENANT_UID_LABEL] ?? '') ?? key
}

function newToken(): { token: string } {
  return { token: Buffer.from(`tnt_${randomBytes(32).toString('base64url')}`).toString('base64') }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}
