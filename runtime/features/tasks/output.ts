import { z } from 'zod'
import { shownPage } from '../page.ts'
import { PRIORITIES, STATUSES, type Task } from './task.ts'

const time = z.iso.datetime()
const tasks = z.int().nonnegative()

const EXAMPLE = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  title: 'Water the plants',
  description: null,
  priority: 'high',
  status: 'pending',
  tags: ['garden'],
  dueDate: '2027-01-31T12:00:00.000Z',
  assignee: null,
  version: 1,
  createdAt: '2027-01-02T08:30:00.000Z',
  updatedAt: '2027-01-02T08:30:00.000Z',
  completedAt: null,
}

/** A task as callers see it. */
export const shownTask: z.ZodType<Omit<Task, 'tags'> & { tags: string[]; version: number }> = z
  .strictObject({
    id: z.uuid().meta({ description: 'A UUID of version 7: ids sort by the time they were made.' }),
    title: z.string(),
    description: z.string().nullable(),
    priority: z.enum(PRIORITIES),
    status: z.enum(STATUSES),
    tags: z.array(z.string()),
    dueDate: time.nullable(),
    assignee: z.uuid().nullable().meta({ description: 'The id of a user.' }),
    version: z.int().positive().meta({ description: 'Goes up with each change; the ETag.' }),
    createdAt: time,
    updatedAt: time,
    completedAt: time.nullable(),
  })
  .meta({ title: 'Task', description: 'A task. Times are RFC 3339, in UTC with milliseconds.', examples: [EXAMPLE] })

/** A page of tasks. */
export const shownTasks = shownPage(shownTask, 'TaskPage', EXAMPLE)

/** How many tasks there are of each kind. */
export const shownStatistics = z
  .strictObject({
    total: tasks,
    completed: tasks,
    pending: tasks,
    overdue: tasks.meta({ description: 'Open, and past their due date.' }),
    byPriority: z.strictObject(Object.fromEntries(PRIORITIES.map((name) => [name, tasks]))),
    byStatus: z.strictObject(Object.fromEntries(STATUSES.map((name) => [name, tasks]))),
  })
  .meta({ title: 'TaskStatistics' })
