import type { User, UserEvent } from './user.ts'

/** The user after the event; null when it is not there. */
export function evolve(_: User | null, event: UserEvent): User | null {
  return event.type === 'user.registered' ? { ...event.data.user, ...event.personal } : null
}
