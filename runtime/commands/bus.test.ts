import { expect, test } from 'vitest'
import { z } from 'zod'
import type { Session } from '../shards/session.ts'
import { createCommandBus } from './bus.ts'
import type { AnyCommand } from './command.ts'

const never = () => Promise.reject(new Error('not used'))
const session: Session = { read: never, bundle: never, transaction: never, poll: never, reachable: never, close: never }
const empty = { name: 'nothing', text: () => '', values: [] }

const Rename: AnyCommand = {
  name: 'Rename',
  summary: 'Rename it',
  scope: 'tasks:write',
  route: { method: 'POST', path: '/v1/names', status: 200 },
  input: z.strictObject({}),
  aggregate: {
    name: 'name',
    quota: 'tasks',
    load: () => empty,
    read: () => ({ state: null, version: 0, position: 0 }),
    evolve: () => null,
    save: () => empty,
    render: () => '',
    output: z.never(),
  },
  grows: true,
  target: () => undefined,
  decide: () => [],
}

test('a command has one handler, exactly one', () => {
  const onCommit = () => undefined
  expect(() => createCommandBus({ session, commands: [Rename, { ...Rename }], onCommit })).toThrow('two handlers for command Rename')
})
