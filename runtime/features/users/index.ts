import type { Feature } from '../feature.ts'
import { EraseUser, RegisterUser } from './commands.ts'
import { GetUser, ListUsers } from './queries.ts'

/** The people of a tenant. */
export const users: Feature = {
  name: 'users',
  commands: [RegisterUser, EraseUser],
  queries: [GetUser, ListUsers],
  projections: [],
  invalidates: () => [],
}
