import { randomBytes } from 'node:crypto'
import { CREDENTIALS_SECRET, type Credentials } from '../../config/routing.ts'
import { OperatorError } from '../errors.ts'
import { isStatus } from '../kubernetes/api-error.ts'
import type { Client } from '../kubernetes/client.ts'
import { SECRETS } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import { type Database, openDatabase, tryLogin } from '../postgres/connect.ts'
import { scramVerifier } from '../postgres/scram.ts'
import { endSpareConnections, prepareSpare, revokeSpare } from '../postgres/statements.ts'
import { loginIn } from '../routing/credentials.ts'
import { credentialsOf } from './apply.ts'
import type { Shard, ShardWorld } from './observe.ts'
import type { RotationStep } from './rotation.ts'

type RotationTools = { client: Client; recorder: Recorder }
type Task = RotationTools & { shard: Shard; world: ShardWorld; database: Database; signal: AbortSignal }

/** Other Shards write the same Secret: so often it is read again before the pass gives up. */
const TRIES = 10

/** Takes the steps of a rotation in their order. Throws what failed; the login in use is as good as before then. */
export async function applyRotation(
  tools: RotationTools,
  shard: Shard,
  world: ShardWorld,
  steps: readonly RotationStep[],
  signal: AbortSignal,
): Promise<void> {
  if (steps.length === 0) return
  const database = openDatabase(world.access)
  try {
    for (const step of steps) await ACTIONS[step]({ ...tools, shard, world, database, signal })
  } finally {
    await database.close()
  }
}

const ACTIONS: Record<RotationStep, (task: Task) => Promise<void>> = {
  revoke: async ({ database, world, shard, recorder }) => {
    await database.run(revokeSpare(world.names))
    await recorder.record(shard, 'Normal', 'OldLoginRevoked', `The login ${world.names.spare} is let in no more.`)
  },
  'end-connections': ({ database, world }) => database.run(endSpareConnections(world.names)),
  rotate,
}

/**
 * The login before the Secret: what a runtime reads there is always let in. A crash between the two leaves a login that nobody knows the
 * password of; the next pass revokes it and begins again.
 */
async function rotate({ client, recorder, shard, world, database, signal }: Task): Promise<void> {
  const { login, spare } = world.names
  const password = randomBytes(32).toString('base64url')
  await database.run(prepareSpare(world.names, world.database?.roles ?? [], await scramVerifier(password)))
  await proveSpare(world, password)
  const after = credentialsOf(world, { username: spare, password, issuedAt: new Date().toISOString() })
  await replaceCredentials(client, shard, world.credentials, after, signal)
  await recorder.record(
    shard,
    'Normal',
    'CredentialsRotated',
    `Runtimes now log in as ${spare}; ${login} stays valid until they have moved.`,
  )
}

async function proveSpare({ access, names }: ShardWorld, password: string): Promise<void> {
  try {
    await tryLogin({ ...access, username: names.spare, password })
  } catch (error) {
    const message = `${access.host}:${access.port} refuses ${names.spare}, the runtime's other login: allow it in pg_hba.conf with scram-sha-256.`
    throw new OperatorError('RuntimeLoginRefused', message, { cause: error })
  }
}

/** Puts the new login in the place of the one that was looked at, and of no other: an operator that comes late overwrites nothing. */
async function replaceCredentials(
  client: Client,
  { metadata: { name, namespace } }: Shard,
  before: Credentials | undefined,
  after: Credentials,
  signal: AbortSignal,
): Promise<void> {
  const data = { [name]: Buffer.from(JSON.stringify(after)).toString('base64') }
  for (let tries = 1; ; tries++) {
    const secret = await client.get(SECRETS, namespace, CREDENTIALS_SECRET, { signal })
    if (secret === undefined || loginIn(secret, name)?.password !== before?.password)
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
