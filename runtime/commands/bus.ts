import { createAudit } from '../events/audit.ts'
import type { Session } from '../shards/session.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { finder, requireScope } from '../tenancy/scopes.ts'
import type { AnyCommand, CommandOptions, OnCommit, Outcome } from './command.ts'
import { createHandler } from './handle.ts'
import { onlyOnce } from './idempotency.ts'
import type { AnyReference } from './reference.ts'

export type CommandBus = {
  /** Carries out the command of that name. `input` is what the command's schema has parsed. Throws TenantryError, `forbidden` where the caller lacks its scope. */
  execute: (tenant: TenantContext, name: string, input: unknown, options: CommandOptions) => Promise<Outcome>
}

export type CommandBusOptions = {
  session: Session
  commands: readonly AnyCommand[]
  /** What refers to what; left out: nothing does. */
  references?: readonly AnyReference[]
  /** Told of each commit before the caller is answered. */
  onCommit: OnCommit
}

/** One handler for each command, exactly one: throws when two have the same name, one names no scope, or one is asked for that is not there. */
export function createCommandBus({ session, commands, references = [], onCommit }: CommandBusOptions): CommandBus {
  const find = finder<AnyCommand>('command', commands)
  const audit = createAudit(session)
  const handle = onlyOnce(session, createHandler(session, references, onCommit))
  return {
    execute: async (tenant, name, input, options) => {
      const command = find(name)
      try {
        requireScope(tenant, command.scope)
        return await handle(command, tenant, input, options)
      } catch (error) {
        await audit.refused(tenant, name, error, command.target(input))
        throw error
      }
    },
  }
}
