import type { User, UserEvent } from './user.ts'

/** The user after the event. */
export function evolve(_: User | null, { data, personal }: UserEvent): User {
  return { ...data.user, ...personal }
}
