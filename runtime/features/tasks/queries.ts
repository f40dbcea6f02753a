import { z } from 'zod'
import type { Query } from '../../queries/query.ts'
import { onlyId, text } from './input.ts'
import { listTasks } from './list.ts'
import { taskById } from './repository.ts'
import { taskStatistics } from './statistics.ts'
import { PRIORITIES, STATUSES } from './task.ts'

/** One task. */
export const GetTask: Query<z.infer<typeof onlyId>> = {
  name: 'GetTask',
  scope: 'tasks:read',
  route: { path: '/v1/tasks/{id}' },
  input: onlyId,
  cacheKey: ({ id }) => `task:${id}`,
  statement: (tenantUid, { id }) => taskById(tenantUid, id),
  answer: ([row]) => row && { body: String(row.body), position: Number(row.position), version: Number(row.version) },
}

const CURSOR = 'must be a nextCursor that this list has given'
const LIMIT = 'must be a whole number from 1 to 100'
const cursor = z
  .string()
  .regex(/^[A-Za-z0-9_-]{22}$/, CURSOR)
  .transform((value) => Buffer.from(value, 'base64url').toString('hex'))

const listInput = z.strictObject({
  status: z.enum(STATUSES).optional(),
  priority: z.enum(PRIORITIES).optional(),
  tag: text(1, 50).optional(),
  assignee: text(1, 200).optional(),
  limit: z
    .string()
    .regex(/^([1-9]\d?|100)$/, LIMIT)
    .transform(Number)
    .default(50),
  cursor: cursor.optional(),
})

/** Tasks, newest first, a page at a time. */
export const ListTasks: Query<z.infer<typeof listInput>> = {
  name: 'ListTasks',
  scope: 'tasks:read',
  route: { path: '/v1/tasks' },
  input: listInput,
  cacheKey: () => undefined,
  statement: listTasks,
  answer: ([row]) => {
    if (row === undefined) return undefined
    const last = row.next
    const nextCursor = last === null ? null : Buffer.from(String(last).replaceAll('-', ''), 'hex').toString('base64url')
    return { body: `{"items":[${row.items}],"nextCursor":${JSON.stringify(nextCursor)}}`, position: Number(row.position) }
  },
}

/** How many tasks there are of each kind, as of the projection's checkpoint. */
export const TaskStatistics: Query<Record<string, never>> = {
  name: 'TaskStatistics',
  scope: 'tasks:read',
  route: { path: '/v1/tasks/statistics' },
  input: z.strictObject({}),
  cacheKey: () => 'tasks:statistics',
  statement: taskStatistics,
  answer: ([row]) => row && { body: String(row.body), position: Number(row.position) },
}
