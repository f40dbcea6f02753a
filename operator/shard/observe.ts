import { X509Certificate } from 'node:crypto'
import { CREDENTIALS_SECRET, type Credentials } from '../../config/routing.ts'
import type { ShardReason, ShardSpec, ShardStatus } from '../../crds/shard.ts'
import type { Isolation } from '../../crds/tenant.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import { type KubeObject, SECRETS, type Secret } from '../kubernetes/object.ts'
import { type DatabaseFacts, readDatabase, readMark, readServer, type ServerFacts } from '../postgres/catalog.ts'
import { type Access, openDatabase, tryLogin } from '../postgres/connect.ts'
import { sqlState } from '../postgres/failure.ts'
import { anothers, type ShardNames, shardNames } from '../postgres/names.ts'
import { loginIn } from '../routing/credentials.ts'
import { keptAccess } from './admin-login.ts'

/** A Shard as the API server has it. */
export type Shard = KubeObject<ShardSpec, ShardStatus>

/** What a pass has found. */
export type ShardWorld = {
  access: Access
  /** Of a Shard that is to be deleted: a Secret of people's is gone, and `access` is what was kept of it. */
  secretGone?: { reason: ShardReason; message: string } | undefined
  names: ShardNames
  /** The Shard's mark on its database, and the form it had before it named the installation. */
  mark: string
  formerMark: string
  server: ServerFacts
  /** Undefined: the database does not exist yet. */
  database: DatabaseFacts | undefined
  credentials: Credentials | undefined
  /** The runtime's login, tried with these credentials, is let in. */
  loginWorks: boolean
  isolations: readonly Isolation[]
}

/** Where a pass looks; `installation` is the operator's, as the database is marked with it. */
export type ShardSources = { client: Client; installation: string }

const DATABASE_MISSING = '3D000'
const NO_PRIVILEGE = '42501'

/** Looks at the Secrets, the server and its database. Throws an OperatorError when one of them cannot be looked at. */
export async function observeShard({ client, installation }: ShardSources, shard: Shard, signal: AbortSignal): Promise<ShardWorld> {
  const { access, secretGone } = await accessOf(client, shard, signal)
  const secret = await client.get(SECRETS, shard.metadata.namespace, CREDENTIALS_SECRET, { signal })
  const credentials = loginIn(secret, shard.metadata.name)
  const names = shardNames(access.database, credentials?.username)
  const formerMark = markOf(shard)
  const mark = `${formerMark} of installation ${installation}`
  const marks = [mark, formerMark] as const
  const found = (await look(access, marks, names)) ?? (await look({ ...access, database: 'postgres' }, marks, undefined))
  if (found === undefined)
    throw new OperatorError(
      'SetupFailed',
      `${access.host}:${access.port} has no database "postgres": create it, the operator needs one to connect to.`,
    )
  const loginWorks = found.database?.roles.includes(names.login) === true && (await works(access, credentials))
  return { access, secretGone, names, mark, formerMark, ...found, credentials, loginWorks, isolations: shard.spec.isolations }
}

function markOf({ metadata }: Shard): string {
  return `tenantry: Shard ${metadata.namespace}/${metadata.name}`
}

async function look(
  access: Access,
  marks: readonly [own: string, former: string],
  names: ShardNames | undefined,
): Promise<Pick<ShardWorld, 'server' | 'database'> | undefined> {
  const database = openDatabase(access)
  try {
    const server = await readServer(database)
    return { server, database: names === undefined ? undefined : await readDatabase(database, names) }
  } catch (error) {
    if (sqlState(error) === DATABASE_MISSING) return undefined
    if (sqlState(error) !== NO_PRIVILEGE) throw error
    throw new OperatorError('NameConflict', await whoseIsIt(access, marks), { cause: error })
  } finally {
    await database.close()
  }
}

/** Of a database that is closed to the login its comment can be read from outside: what is another's is not to be taken over. */
async function whoseIsIt(access: Access, [own, former]: readonly [own: string, former: string]): Promise<string> {
  const { database: name, username } = access
  const server = openDatabase({ ...access, database: 'postgres' })
  try {
    const mark = await readMark(server, name)
    if (mark !== undefined && mark !== own && mark !== former) return anothers(name, mark, own)
    return `The database ${name} is closed to ${username}: run ALTER DATABASE ${name} OWNER TO "${username}", or name another in spec.endpoint.database.`
  } finally {
    await server.close()
  }
}

async function works(access: Access, credentials: Credentials | undefined): Promise<boolean> {
  if (credentials === undefined) return false
  try {
    await tryLogin({ ...access, username: credentials.username, password: credentials.password })
    return true
  } catch (error) {
    if (error instanceof OperatorError && error.reason === 'AuthenticationFailed') return false
    if (sqlState(error) === NO_PRIVILEGE) return false
    throw error
  }
}

/** With a namespace its Secrets go first: those who are to leave are seen out with what was kept. */
async function accessOf(client: Client, shard: Shard, signal: AbortSignal): Promise<Pick<ShardWorld, 'access' | 'secretGone'>> {
  try {
    return { access: await readAccess(client, shard, signal) }
  } catch (error) {
    const secretGone = shard.metadata.deletionTimestamp === undefined ? undefined : goneSecret(error)
    const access = secretGone && (await keptAccess(client, shard, signal))
    if (access === undefined) throw error
    return { access, secretGone }
  }
}

function goneSecret(error: unknown): ShardWorld['secretGone'] {
  if (!(error instanceof OperatorError)) return undefined
  const { reason, message } = error
  return reason === 'AdminSecretMissing' || reason === 'CaSecretMissing' ? { reason, message } : undefined
}

async function readAccess(client: Client, { metadata, spec }: Shard, signal: AbortSignal): Promise<Access> {
  const { host, port, database } = spec.endpoint
  const name = spec.adminSecretRef.name
  const secret = await client.get(SECRETS, metadata.namespace, name, { signal })
  if (secret === undefined) throw new OperatorError('AdminSecretMissing', `Create the Secret ${name} with the keys username and password.`)
  const username = textIn(secret, 'username')
  const password = textIn(secret, 'password')
  if (!username || !password) throw new OperatorError('AdminSecretInvalid', `The Secret ${name} needs the keys username and password.`)
  const ca = spec.tls.caSecretRef === undefined ? undefined : await readAuthority(client, metadata.namespace, spec.tls.caSecretRef, signal)
  return { host, port, database, tls: spec.tls.mode, ca, username, password }
}

async function readAuthority(client: Client, namespace: string, ref: { name: string; key: string }, signal: AbortSignal): Promise<string> {
  const secret = await client.get(SECRETS, namespace, ref.name, { signal })
  if (secret === undefined)
    throw new OperatorError('CaSecretMissing', `Create the Secret ${ref.name} with the certificate authority under the key ${ref.key}.`)
  const pem = textIn(secret, ref.key) ?? ''
  if (!isCertificate(pem))
    throw new OperatorError('CaSecretInvalid', `The Secret ${ref.name} needs a PEM certificate under the key ${ref.key}.`)
  return pem
}

function textIn({ data }: Secret, key: string): string | undefined {
  const encoded = data?.[key]
  return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8')
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).subject !== ''
  } catch {
    return false
  }
}

/** All of a Shard that a pass of its own or of a Tenant looks at. */
export function shardMark(shard: Shard | undefined): string {
  if (shard === undefined) return 'gone'
  const { uid, generation, labels, deletionTimestamp } = shard.metadata
  return JSON.stringify([uid, generation, labels, deletionTimestamp, shard.status?.conditions])
}
