import { setTimeout } from 'node:timers/promises'
import { v7 as uuidv7 } from 'uuid'
import { TenantryError } from '../errors.ts'
import type { Session } from '../shards/session.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { changeBy, committed } from './change.ts'
import type { AnyCommand, Asked, CommandOptions, Loaded, OnCommit, Outcome } from './command.ts'
import { type AnyReference, createRemover } from './reference.ts'
import { Saver } from './save.ts'
import { Turns } from './turns.ts'

type Handle = (command: AnyCommand, tenant: TenantContext, input: unknown, options: CommandOptions) => Promise<Outcome>

const ATTEMPTS = 10
const LONGEST_PAUSE = 50

/**
 * Load, decide, save. A command that lost a race against another replica is decided again on what is there now, if the
 * caller accepts that version; after a few lost races it is a `conflict`.
 */
export function createHandler(session: Session, references: readonly AnyReference[], onCommit: OnCommit): Handle {
  const saver = new Saver(session)
  const remover = createRemover(session, references, onCommit)
  const turns = new Turns()

  return async (command, tenant, input, options) => {
    const target = command.target(input)
    if (target === undefined) return attempts(command, tenant, input, options, undefined)
    return turns.take(`${tenant.uid}/${target}`, () => attempts(command, tenant, input, options, target))
  }

  async function attempts(...call: Parameters<typeof attempt>): Promise<Outcome> {
    for (let tried = 0; tried < ATTEMPTS; tried += 1) {
      const outcome = await attempt(...call)
      if (outcome !== undefined) return outcome
      // By chance and longer each time, so that two replicas do not go on losing to each other.
      await setTimeout(Math.random() * Math.min(LONGEST_PAUSE, 2 ** tried))
    }
    throw new TenantryError('conflict', 'Others are changing it at the same time.')
  }

  async function attempt(command: AnyCommand, tenant: TenantContext, input: unknown, options: CommandOptions, target: string | undefined) {
    const { aggregate } = command
    const loaded = target === undefined ? undefined : await load(command, tenant, target, options.signal)
    checkVersion(loaded, options)
    const now = new Date()
    const id = target ?? uuidv7()
    const events = command.decide(input, loaded?.state ?? null, { now, id })
    if (events.length === 0) return unchanged(command, id, loaded)
    const decided = changeBy(aggregate, id, loaded, events, now)
    const body = decided.after === null ? undefined : aggregate.render(decided.after, decided.version + events.length)
    const needsRoom = command.grows && decided.growth > 0
    const change = { ...decided, needsRoom, asked: askedFor(command, tenant, options, body) }
    const isRemoval = change.after === null && remover.concerns(aggregate)
    const saved = await (isRemoval
      ? remover.remove(tenant, aggregate, change, options.signal)
      : saver.save(tenant, aggregate, change, options.signal))
    if (saved === undefined) return undefined
    onCommit(tenant, committed(change, saved))
    return { id, ...saved, body }
  }

  async function load(command: AnyCommand, tenant: TenantContext, id: string, signal: AbortSignal): Promise<Loaded<unknown> | undefined> {
    const [row] = await session.read(tenant, command.aggregate.load(tenant.uid, id), signal)
    return row === undefined ? undefined : command.aggregate.read(row)
  }
}

function askedFor(command: AnyCommand, { caller, requestId }: TenantContext, { record }: CommandOptions, body: string | undefined): Asked {
  return { command: command.name, caller, requestId, ...(record && { record: { ...record, body: body ?? null } }) }
}

function checkVersion(loaded: Loaded<unknown> | undefined, { accepts }: CommandOptions): void {
  if (accepts === undefined || loaded === undefined || accepts(loaded.version)) return
  throw new TenantryError('precondition-failed', 'It has changed since you read it. Read it again.')
}

function unchanged(command: AnyCommand, id: string, loaded: Loaded<unknown> | undefined): Outcome {
  if (loaded === undefined) throw new Error(`command ${command.name} made nothing of nothing`)
  const { state, version, position } = loaded
  return { id, version, position, body: command.aggregate.render(state, version) }
}
