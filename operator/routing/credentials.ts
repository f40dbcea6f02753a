import { CREDENTIALS_SECRET, type Credentials, parseCredentials } from '../../config/routing.ts'
import { isStatus, isTerminating } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { SECRETS, type Secret } from '../kubernetes/object.ts'

type Place = {
  client: Client
  namespace: string
  /** The Secret, when it is not the one with the runtime's logins. */
  secret?: string
  signal: AbortSignal
}

/** The login under a key of a Secret with logins; undefined when it is missing or cannot be read. */
export function loginIn(secret: Secret | undefined, key: string): Credentials | undefined {
  const parsed = parseCredentials(Buffer.from(secret?.data?.[key] ?? '', 'base64').toString('utf8'))
  return parsed.ok ? parsed.value : undefined
}

/**
 * Makes the Secret where it is missing: the runtime watches its own by name, so that it stands before the first Shard does. Where the
 * namespace is going nobody needs one that is not there.
 */
export async function createLogins({ client, namespace, secret: name = CREDENTIALS_SECRET, signal }: Place): Promise<void> {
  try {
    await client.create(SECRETS, namespace, { metadata: { name }, type: 'Opaque' }, { signal })
  } catch (error) {
    if (!isStatus(error, 409) && !isTerminating(error)) throw error
  }
}

/** Reads one login from the API server. */
export async function readLogin(
  { client, namespace, secret = CREDENTIALS_SECRET, signal }: Place,
  key: string,
): Promise<Credentials | undefined> {
  return loginIn(await client.get(SECRETS, namespace, secret, { signal }), key)
}

/** Other Shards and Tenants write the same Secret: so often it is read again before the pass gives up. */
const TRIES = 10

/** Puts a login in the place of the one that was looked at, and of no other: an operator that comes late overwrites nothing. */
export async function replaceLogin(
  { client, namespace, signal }: Place,
  key: string,
  before: Credentials,
  after: Credentials,
): Promise<void> {
  const data = { [key]: encode(after) }
  for (let tries = 1; ; tries++) {
    const secret = await client.get(SECRETS, namespace, CREDENTIALS_SECRET, { signal })
    if (secret === undefined || loginIn(secret, key)?.password !== before.password)
      throw new Error('the credentials were changed by somebody else meanwhile')
    const { uid, resourceVersion } = secret.metadata
    try {
      await client.patch(SECRETS, namespace, CREDENTIALS_SECRET, { metadata: { uid, resourceVersion }, data }, { signal })
      return
    } catch (error) {
      if (!isStatus(error, 409) || tries === TRIES) throw error
    }
  }
}

/** Sets one login, or with `undefined` takes it out; the others, which belong to other Shards and Tenants, stay. */
export async function writeLogin(
  { client, namespace, secret: name = CREDENTIALS_SECRET, signal }: Place,
  key: string,
  login: Credentials | undefined,
): Promise<void> {
  const value = login === undefined ? null : encode(login)
  try {
    await client.patch(SECRETS, namespace, name, { data: { [key]: value } }, { signal })
  } catch (error) {
    if (!isStatus(error, 404)) throw error
    if (value === null) return
    const data = { [key]: value }
    await client.create(SECRETS, namespace, { metadata: { name }, type: 'Opaque', data }, { signal })
  }
}

function encode(login: Credentials): string {
  return Buffer.from(JSON.stringify(login)).toString('base64')
}
