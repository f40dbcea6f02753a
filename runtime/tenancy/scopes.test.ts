import { expect, test } from 'vitest'
import { SCOPES } from '../../config/routing.ts'
import { buildContext } from '../../test/builders/routing.ts'
import { type CommandBus, createCommandBus } from '../commands/bus.ts'
import type { AnyCommand } from '../commands/command.ts'
import { createAudit } from '../events/audit.ts'
import { tasks } from '../features/tasks/index.ts'
import { createQueryBus, type QueryBus } from '../queries/bus.ts'
import type { Query } from '../queries/query.ts'
import type { Session } from '../shards/session.ts'

const reached = () => Promise.reject(new Error('reached the database'))
const session: Session = { read: reached, bundle: reached, transaction: reached, poll: reached, reachable: reached, close: reached }
const onCommit = () => undefined
const signal = new AbortController().signal
const INPUT = { title: 'x', id: '01890a5d-ac96-774b-bcce-b302099a8057', tags: [], priority: 'low' }

const commandBus: CommandBus = createCommandBus({ session, commands: tasks.commands, onCommit })
const queryBus: QueryBus = createQueryBus(tasks.queries, reached, createAudit(session))

test.each([...tasks.commands, ...tasks.queries])(
  '$name is refused at the bus to whoever lacks $scope, and to nobody else',
  async ({ name, scope }) => {
    const ask = (scopes: Iterable<(typeof SCOPES)[number]>) => {
      const tenant = buildContext({ scopes: new Set(scopes) })
      return tasks.commands.some((command) => command.name === name)
        ? commandBus.execute(tenant, name, INPUT, { signal })
        : queryBus.ask(tenant, name, INPUT)
    }
    const refusal = {
      code: 'forbidden',
      message: expect.stringContaining(scope),
      faults: [{ field: 'scope', message: `must include ${scope}` }],
    }
    await expect(ask(SCOPES.filter((other) => other !== scope))).rejects.toMatchObject(refusal)
    await expect(ask([])).rejects.toMatchObject(refusal)
    await expect(ask(SCOPES.filter((other) => other === scope))).rejects.toThrow('reached the database')
  },
)

test('a bus does not start with a command or a query that names no scope', () => {
  const without = ({ scope: _, ...rest }: object & { scope: unknown }) => rest
  const commands = tasks.commands.map((command) => without(command) as AnyCommand)
  const queries = tasks.queries.map((query) => without(query) as Query<unknown>)
  expect(() => createCommandBus({ session, commands, onCommit })).toThrow('CreateTask names no scope')
  expect(() => createQueryBus(queries, reached, createAudit(session))).toThrow('names no scope')
})
