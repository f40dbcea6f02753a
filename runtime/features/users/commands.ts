import type { z } from 'zod'
import type { Aggregate, Command } from '../../commands/command.ts'
import { TenantryError } from '../../errors.ts'
import { readRow } from '../row.ts'
import { eraseUser, registerUser } from './decide.ts'
import { evolve } from './evolve.ts'
import { newUser, onlyId } from './input.ts'
import { shownUser } from './output.ts'
import { renderUser, saveUsers, userById } from './repository.ts'
import type { User, UserEvent } from './user.ts'

const user: Aggregate<User, UserEvent> = {
  name: 'user',
  quota: 'users',
  load: userById,
  read: readRow,
  evolve,
  save: saveUsers,
  refusals: {
    email: () =>
      new TenantryError('conflict', 'There is a user with this e-mail address.', {
        faults: [{ field: 'email', message: 'is the address of another user' }],
      }),
  },
  render: renderUser,
  output: shownUser,
}

/** Makes a user. */
export const RegisterUser: Command<z.infer<typeof newUser>, User, UserEvent> = {
  name: 'RegisterUser',
  summary: 'Make a user',
  scope: 'users:write',
  route: { method: 'POST', path: '/v1/users', status: 201 },
  input: newUser,
  aggregate: user,
  grows: true,
  target: () => undefined,
  decide: (input, _, moment) => registerUser(input, moment),
}

/** Erases what is told of a person; that there was a user of this id stays. */
export const EraseUser: Command<z.infer<typeof onlyId>, User, UserEvent> = {
  name: 'EraseUser',
  summary: "Erase a person's data",
  scope: 'users:write',
  route: { method: 'DELETE', path: '/v1/users/{id}', status: 204 },
  input: onlyId,
  aggregate: user,
  grows: false,
  target: ({ id }) => id,
  decide: (_, state) => eraseUser(state),
}
