import { exportedTable } from '../exported.ts'
import type { Feature } from '../feature.ts'
import { EraseUser, RegisterUser } from './commands.ts'
import { shownUser } from './output.ts'
import { GetUser, ListUsers } from './queries.ts'
import { USER_COLUMNS } from './repository.ts'

/** The people of a tenant. */
export const users: Feature = {
  name: 'users',
  commands: [RegisterUser, EraseUser],
  queries: [GetUser, ListUsers],
  projections: [],
  exports: [exportedTable('users', USER_COLUMNS, shownUser)],
  invalidates: () => [],
}
