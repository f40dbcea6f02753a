import { z } from 'zod'
import type { Query } from '../../queries/query.ts'
import { text } from '../input.ts'
import { pageAnswer, pageInput } from '../page.ts'
import { rowAnswer } from '../row.ts'
import { assignee, onlyId } from './input.ts'
import { listTasks, taskList } from './list.ts'
import { shownStatistics, shownTask, shownTasks } from './output.ts'
import { taskById } from './repository.ts'
import { taskStatistics } from './statistics.ts'
import { PRIORITIES, STATUSES } from './task.ts'

/** One task. */
export const GetTask: Query<z.infer<typeof onlyId>> = {
  name: 'GetTask',
  summary: 'One task',
  scope: 'tasks:read',
  route: { path: '/v1/tasks/{id}' },
  input: onlyId,
  output: shownTask,
  versioned: true,
  cacheKey: ({ id }) => `task:${id}`,
  statement: (tenantUid, { id }) => taskById(tenantUid, id),
  answer: rowAnswer,
}

const listInput = z.strictObject({
  status: z.enum(STATUSES).optional(),
  priority: z.enum(PRIORITIES).optional(),
  tag: text(1, 50).optional(),
  assignee: assignee.optional(),
  ...pageInput,
})

/** Tasks, newest first, a page at a time. */
export const ListTasks: Query<z.infer<typeof listInput>> = {
  name: 'ListTasks',
  summary: 'Tasks, newest first, a page at a time',
  scope: 'tasks:read',
  route: { path: '/v1/tasks' },
  input: listInput,
  output: shownTasks,
  versioned: false,
  cacheKey: () => undefined,
  statement: listTasks,
  answer: (rows, input, { uid }) => pageAnswer(rows, taskList(uid, input)),
}

/** How many tasks there are of each kind, as of the projection's checkpoint. */
export const TaskStatistics: Query<Record<string, never>> = {
  name: 'TaskStatistics',
  summary: 'How many tasks there are of each kind',
  scope: 'tasks:read',
  route: { path: '/v1/tasks/statistics' },
  input: z.strictObject({}),
  output: shownStatistics,
  versioned: false,
  cacheKey: () => 'tasks:statistics',
  statement: taskStatistics,
  answer: ([row]) => row && { body: String(row.body), position: Number(row.position) },
}
