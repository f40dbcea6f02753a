import { randomBytes } from 'node:crypto'
import type { Log } from '../../config/log.ts'
import type { Credentials } from '../../config/routing.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import type { AnyObject } from '../kubernetes/object.ts'
import type { Recorder } from '../kubernetes/recorder.ts'
import type { Database } from '../postgres/connect.ts'
import { isOutage } from '../postgres/failure.ts'
import { scramVerifier } from '../postgres/scram.ts'
import { endConnections, revokeLogin } from '../postgres/statements.ts'
import { replaceLogin } from '../routing/credentials.ts'
import type { Rotation, RotationStep } from './rotation.ts'

type RotationTools = { client: Client; recorder: Recorder; log: Log }

/** Two logins in turn: what a Shard and a tenant with a database of its own have. */
export type Logins = {
  /** Whose they are: the Events are told of it. */
  object: AnyObject
  /** The key in the Secret with the runtime's logins, and what stands there. */
  key: string
  before: Credentials
  /** The login that is not in use. */
  spare: string
  /** Statements that make it valid with this verifier, with all that the other one has; whatever was there of it is replaced. */
  prepare: (verifier: string) => string
  /** Statements that give the one in use what the two have had together, once it is alone. */
  alone?: string
  /** Logs in with it; rejects when it is refused. */
  prove: (password: string) => Promise<unknown>
  database: Pick<Database, 'run'>
}

const ROTATE_AGAIN_MS = 30_000

/**
 * Takes the steps of a rotation in their order; gives when there is more to do. One that fails is told and tried again: the login in use is
 * as good as before then. Throws when the server is out of reach.
 */
export async function applyRotation(
  tools: RotationTools,
  logins: Logins,
  { steps, nextMs }: Rotation,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    for (const step of steps) await ACTIONS[step](tools, logins, signal)
    return nextMs
  } catch (error) {
    if (isOutage(error) || signal.aborted) throw error
    const { kind, metadata } = logins.object
    tools.log.warn({ kind, name: metadata.name, err: error }, 'a login of the runtime could not be replaced')
    const message = error instanceof OperatorError ? error.message : "See the operator's log; it is tried again."
    await tools.recorder.record(logins.object, 'Warning', 'RotationFailed', message)
    return ROTATE_AGAIN_MS
  }
}

const ACTIONS: Record<RotationStep, (tools: RotationTools, logins: Logins, signal: AbortSignal) => Promise<void>> = {
  revoke: async ({ recorder }, { database, spare, object, alone = '' }) => {
    await database.run(`${revokeLogin(spare)}\n${alone}`)
    await recorder.record(object, 'Normal', 'OldLoginRevoked', `The login ${spare} is let in no more.`)
  },
  'end-connections': (_, { database, spare }) => database.run(endConnections(spare)),
  rotate,
}

/**
 * The login before the Secret: what a runtime reads there is always let in. A crash between the two leaves a login that nobody knows the
 * password of; the next pass revokes it and begins again.
 */
async function rotate({ client, recorder }: RotationTools, logins: Logins, signal: AbortSignal): Promise<void> {
  const { object, key, before, spare, database } = logins
  const password = randomBytes(32).toString('base64url')
  await database.run(logins.prepare(await scramVerifier(password)))
  await prove(logins, password)
  const { namespace } = object.metadata
  await replaceLogin({ client, namespace, signal }, key, before, {
    ...before,
    username: spare,
    password,
    issuedAt: new Date().toISOString(),
  })
  const message = `Runtimes now log in as ${spare}; ${before.username} stays valid until they have moved.`
  await recorder.record(object, 'Normal', 'CredentialsRotated', message)
}

async function prove({ prove: logIn, spare }: Logins, password: string): Promise<void> {
  try {
    await logIn(password)
  } catch (cause) {
    const message = `The server refuses ${spare}, the runtime's other login: allow it in pg_hba.conf with scram-sha-256.`
    throw new OperatorError('RuntimeLoginRefused', message, { cause })
  }
}
