import type { Feature } from '../feature.ts'
import { RegisterUser } from './commands.ts'
import { GetUser, ListUsers } from './queries.ts'

/** The people of a tenant. */
export const users: Feature = {
  name: 'users',
  commands: [RegisterUser],
  queries: [GetUser, ListUsers],
  projections: [],
  invalidates: ({ type, aggregateId }) => (type.startsWith('user.') ? [`user:${aggregateId}`] : []),
}
