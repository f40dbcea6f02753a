import { randomBytes } from 'node:crypto'
import type { Credentials } from '../../config/routing.ts'
import { OperatorError } from '../errors.ts'
import type { Client } from '../kubernetes/client.ts'
import { readDatabase } from '../postgres/catalog.ts'
import { type Database, openDatabase, tryLogin } from '../postgres/connect.ts'
import type { Connections } from '../postgres/connections.ts'
import { beginTemplate, createTemplate, dropTemplate, fillTemplate, markTemplate } from '../postgres/databases.ts'
import { isOutage } from '../postgres/failure.ts'
import { latest, type Migrations } from '../postgres/migrations.ts'
import { makeNeighbours } from '../postgres/neighbours.ts'
import { grantRows, migrateRows, secureTables } from '../postgres/rows.ts'
import { scramVerifier } from '../postgres/scram.ts'
import {
  closeToPublic,
  createDatabase,
  createRoles,
  grantLogin,
  markDatabase,
  migrateDatabase,
  setVerifier,
} from '../postgres/statements.ts'
import { writeLogin } from '../routing/credentials.ts'
import type { Shard, ShardWorld } from './observe.ts'
import type { ShardStep } from './plan.ts'

/** What the steps need besides the world. */
export type ShardTools = {
  client: Client
  migrations: Migrations
  connections: Pick<Connections, 'inTurn'>
  /** Told of each step that was taken. */
  onDone: (step: ShardStep) => void
}

type Task = ShardTools & { shard: Shard; world: ShardWorld; database: Database; credentials: Credentials | undefined; signal: AbortSignal }

/**
 * Takes the steps in their order. Throws an OperatorError that names the step that failed; each may be taken again. Gives the error of a
 * migration of shared tables that are in use already: those of their tenants are served as before, and it keeps nobody else from anything.
 */
export async function applyShard(
  tools: ShardTools,
  shard: Shard,
  world: ShardWorld,
  steps: readonly ShardStep[],
  signal: AbortSignal,
): Promise<OperatorError | undefined> {
  if (steps.length === 0) return undefined
  const access = world.database === undefined ? { ...world.access, database: 'postgres' } : world.access
  const database = openDatabase(access)
  const task: Task = { ...tools, shard, world, database, credentials: world.credentials, signal }
  try {
    let behind: OperatorError | undefined
    for (const step of steps) behind = (await take(task, step)) ?? behind
    if (steps.some(({ kind }) => kind === 'set-verifier')) await proveLogin(task)
    return behind
  } finally {
    await database.close()
  }
}

async function take(task: Task, step: ShardStep): Promise<OperatorError | undefined> {
  try {
    if ((await ACTIONS[step.kind](task, step)) !== NOTHING) task.onDone(step)
    return undefined
  } catch (error) {
    if (isOutage(error)) throw error
    const message = `The step ${step.kind} failed: see the operator's log; it is tried again.`
    const failure = new OperatorError('SetupFailed', message, { cause: error })
    if (step.kind === 'migrate-rows' && step.from > 0) return failure
    throw failure
  }
}

/** What a step gives that has found everything as it should be: passes of tenants mend what they share too. */
const NOTHING = 'nothing was to be done'

const ACTIONS: Record<ShardStep['kind'], (task: Task, step: ShardStep) => Promise<unknown>> = {
  'create-database': ({ database, world }) => database.run(createDatabase(world.names)),
  mark: ({ database, world }) => database.run(markDatabase(world.names, world.mark, world.database?.mark)),
  'create-roles': ({ database, world }) => database.run(createRoles(world.names, world.database?.roles ?? [])),
  'close-to-public': ({ database, world }) => database.run(closeToPublic(world.names)),
  'grant-login': ({ database, world }) => database.run(grantLogin(world.names)),
  'issue-credentials': issueCredentials,
  'set-verifier': async ({ database, world, credentials }) => {
    if (credentials !== undefined) await database.run(setVerifier(world.names, await scramVerifier(credentials.password)))
  },
  migrate: async ({ database, world, migrations }, step) => {
    const from = step.kind === 'migrate' ? step.from : 0
    for (const migration of migrations.database) if (migration.version > from) await database.run(migrateDatabase(world.names, migration))
  },
  'migrate-rows': async ({ database, world, migrations }, step) => {
    const from = step.kind === 'migrate-rows' ? step.from : 0
    for (const migration of migrations.tenant) if (migration.version > from) await database.run(migrateRows(world.names, migration))
  },
  'secure-rows': secureRows,
  'make-neighbours': makeNeighboursAnew,
  'make-template': makeTemplate,
}

function secureRows({ connections, database, shard, world: { names } }: Task): Promise<unknown> {
  return connections.inTurn(shard.metadata.name, async () => {
    if ((await readDatabase(database, names)).rowsSecure) return NOTHING
    return database.run(`${grantRows(names)}\n${secureTables()}`)
  })
}

function makeNeighboursAnew({ connections, database, shard, world: { names }, migrations }: Task): Promise<unknown> {
  return connections.inTurn(`${shard.metadata.name} neighbours`, async () => {
    if ((await readDatabase(database, names)).neighboursVersion === latest(migrations.tenant)) return NOTHING
    return database.run(makeNeighbours(names, migrations.tenant))
  })
}

/** Complete with its mark only: a template that was left half made is made anew. */
async function makeTemplate({ database, world, migrations }: Task, step: ShardStep): Promise<void> {
  if (step.kind !== 'make-template') return
  const { access, names } = world
  await database.run(dropTemplate(names))
  await database.run(createTemplate(names))
  await database.run(beginTemplate(names, step.mark))
  const template = openDatabase({ ...access, database: names.template })
  try {
    await template.run(fillTemplate(names, migrations.database))
  } finally {
    await template.close()
  }
  await database.run(markTemplate(names, step.mark))
}

/** The Secret before the role: after a crash between the two, the next pass finds a login that is refused, and sets its verifier from the Secret. */
async function issueCredentials(task: Task, step: ShardStep): Promise<void> {
  const { client, shard, world, signal } = task
  const fresh = step.kind === 'issue-credentials' && step.password === 'new'
  const password = fresh ? randomBytes(32).toString('base64url') : (world.credentials?.password ?? '')
  const issuedAt = fresh ? new Date().toISOString() : world.credentials?.issuedAt
  const credentials = credentialsOf(world, { username: world.names.login, password, issuedAt })
  await writeLogin({ client, namespace: shard.metadata.namespace, signal }, shard.metadata.name, credentials)
  task.credentials = credentials
}

/** What the runtime is given to log in with: beside the login the authority that it checks the server against. */
function credentialsOf(
  { access }: ShardWorld,
  { issuedAt, ...login }: { username: string; password: string; issuedAt: string | undefined },
): Credentials {
  return { ...login, ...(access.ca === undefined ? {} : { ca: access.ca }), ...(issuedAt === undefined ? {} : { issuedAt }) }
}

async function proveLogin({ world, credentials }: Task): Promise<void> {
  if (credentials === undefined) return
  const { host, port } = world.access
  try {
    await tryLogin({ ...world.access, username: credentials.username, password: credentials.password })
  } catch (error) {
    const message = `${host}:${port} refuses ${credentials.username}, the login made for the runtime: allow it in pg_hba.conf with scram-sha-256.`
    throw new OperatorError('RuntimeLoginRefused', message, { cause: error })
  }
}
