import { randomBytes } from 'node:crypto'
import type { Log } from '../../config/log.ts'
import { type CommandBus, createCommandBus } from '../../runtime/commands/bus.ts'
import type { CommandOptions, OnCommit, Outcome } from '../../runtime/commands/command.ts'
import { audit } from '../../runtime/features/audit/index.ts'
import { tasks } from '../../runtime/features/tasks/index.ts'
import { users } from '../../runtime/features/users/index.ts'
import type { Answer } from '../../runtime/queries/query.ts'
import { DEFAULT_SESSION, type SessionSettings } from '../../runtime/shards/endpoint.ts'
import { createSession, type Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import type { TestDatabase } from './database.ts'

/** Says nothing. */
export const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/** A session on the test's database. */
export function sessionOn(database: TestDatabase, settings: Partial<SessionSettings> = {}): Session {
  return createSession({
    endpoint: (shard) => (shard === database.shard ? database.endpoint : undefined),
    credentials: () => database.credentials,
    login: (role) => database.login(role),
    settings: { ...DEFAULT_SESSION, ...settings },
    log: silent,
  })
}

/** What the runtime serves. */
const FEATURES = [tasks, users, audit]

/** The command bus with every feature's commands. */
export function busOn(session: Session, onCommit: OnCommit = () => undefined): CommandBus {
  return createCommandBus({
    session,
    commands: FEATURES.flatMap(({ commands }) => commands),
    references: tasks.references ?? [],
    onCommit,
  })
}

/** Several processes of the runtime as far as commands go: each with a session and a bus of its own; an index goes round. */
export type Replicas = { session: (index?: number) => Session; bus: (index?: number) => CommandBus; close: () => Promise<unknown> }

/** Opens so many replicas on the test's database. */
export function openReplicas(database: TestDatabase, count = 2): Replicas {
  const replicas = Array.from({ length: count }, () => {
    const session = sessionOn(database)
    return { session, bus: busOn(session) }
  })
  const at = (index: number) => {
    const replica = replicas[index % count]
    if (replica === undefined) throw new Error('no replica')
    return replica
  }
  return {
    session: (index = 0) => at(index).session,
    bus: (index = 0) => at(index).bus,
    close: () => Promise.all(replicas.map(({ session }) => session.close())),
  }
}

/** Parses the input as http/ does, and executes the command. */
export async function command(
  bus: CommandBus,
  tenant: TenantContext,
  name: string,
  raw: object,
  options: Omit<CommandOptions, 'signal'> = {},
): Promise<Outcome> {
  const input: unknown = FEATURES.flatMap(({ commands }) => commands)
    .find((one) => one.name === name)
    ?.input.parse(raw)
  return bus.execute(tenant, name, input, { ...options, signal: new AbortController().signal })
}

/** Parses the input as http/ does, and asks without caches. */
export async function ask(session: Session, tenant: TenantContext, name: string, raw: object): Promise<Answer | undefined> {
  const query = FEATURES.flatMap(({ queries }) => queries).find((one) => one.name === name)
  if (query === undefined) throw new Error(`no query ${name}`)
  const input: unknown = query.input.parse(raw)
  return query.answer(await session.read(tenant, query.statement(tenant.uid, input)), input, tenant)
}

/** A stream and a prefix that no other test has. */
export function ownStream(): { stream: string; prefix: string } {
  const name = `test${randomBytes(6).toString('hex')}`
  return { stream: name.toUpperCase(), prefix: name }
}

/** Waits until `condition` gives something that is not false, undefined or null; throws after so many milliseconds. */
export async function until<T>(condition: () => Promise<T> | T, milliseconds = 20_000): Promise<NonNullable<T>> {
  const end = Date.now() + milliseconds
  while (Date.now() < end) {
    const value = await condition()
    if (value !== undefined && value !== null && value !== false) return value
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`not within ${milliseconds} ms: ${condition}`)
}
