import type { Moment } from '../../commands/command.ts'
import { TenantryError } from '../../errors.ts'
import type { Person, User, UserEvent } from './user.ts'

/** Makes a user. That the e-mail address is free is for the tenant's tables to say. */
export function registerUser({ email, displayName }: Person, { now, id }: Moment): UserEvent[] {
  const time = now.toISOString()
  return [{ type: 'user.registered', data: { user: { id, createdAt: time, updatedAt: time } }, personal: { email, displayName } }]
}

/** Erases what is told of a person. Throws `not-found`. */
export function eraseUser(user: User | null): UserEvent[] {
  if (user === null) throw new TenantryError('not-found', 'There is no such user.')
  return [{ type: 'user.erased', data: {} }]
}
