import type { Moment } from '../../commands/command.ts'
import type { Person, UserEvent } from './user.ts'

/** Makes a user. That the e-mail address is free is for the tenant's tables to say. */
export function registerUser({ email, displayName }: Person, { now, id }: Moment): UserEvent[] {
  const time = now.toISOString()
  return [{ type: 'user.registered', data: { user: { id, createdAt: time, updatedAt: time } }, personal: { email, displayName } }]
}
