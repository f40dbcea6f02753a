/** A user as commands leave it. Times are RFC 3339, milliseconds, UTC. */
export type User = {
  id: string
  /** Trimmed and in lower case: no two users of a tenant have the same. */
  email: string
  displayName: string
  createdAt: string
  updatedAt: string
}

/** What is told of a person. */
export type Person = Pick<User, 'email' | 'displayName'>

export type UserEvent =
  | { type: 'user.registered'; data: { user: Omit<User, keyof Person> }; personal: Person }
  | { type: 'user.erased'; data: Record<string, never> }
