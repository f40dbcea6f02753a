import { z } from 'zod'
import type { Query } from '../../queries/query.ts'
import { idBehind, listOf } from '../cursor.ts'
import { pageAnswer, pageInput, pageOf } from '../page.ts'
import { rowAnswer } from '../row.ts'
import { onlyId } from './input.ts'
import { shownUser, shownUsers } from './output.ts'
import { USER_COLUMNS, userById } from './repository.ts'

/** One user. */
export const GetUser: Query<z.infer<typeof onlyId>> = {
  name: 'GetUser',
  summary: 'One user',
  scope: 'users:read',
  route: { path: '/v1/users/{id}' },
  input: onlyId,
  output: shownUser,
  versioned: true,
  // A person's data has one place, from which it can be erased: no cache on any replica, and none in Redis.
  cacheKey: () => undefined,
  statement: (tenantUid, { id }) => userById(tenantUid, id),
  answer: rowAnswer,
}

const listInput = z.strictObject(pageInput)

const userList = (tenantUid: string) => listOf(tenantUid, 'users', {})

/** Users, newest first, a page at a time. */
export const ListUsers: Query<z.infer<typeof listInput>> = {
  name: 'ListUsers',
  summary: 'Users, newest first, a page at a time',
  scope: 'users:read',
  route: { path: '/v1/users' },
  input: listInput,
  output: shownUsers,
  versioned: false,
  cacheKey: () => undefined,
  statement: (tenantUid, { cursor, limit }) => ({
    name: cursor === undefined ? 'user.list' : 'user.list.cursor',
    text: (schema) => pageOf(USER_COLUMNS, `${schema}users WHERE tenant_id = $1${cursor === undefined ? '' : ' AND id < $3::uuid'}`),
    values: [tenantUid, limit, ...(cursor === undefined ? [] : [idBehind(userList(tenantUid), cursor)])],
  }),
  answer: (rows, _, { uid }) => pageAnswer(rows, userList(uid)),
}
