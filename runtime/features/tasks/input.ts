import { z } from 'zod'
import { idInPath, idOf, text } from '../input.ts'
import { ASSIGNEE, PRIORITIES } from './task.ts'

/** An RFC 3339 date-time, made UTC with milliseconds; the years are 1 to 9999. */
const dateTime = z.iso
  .datetime({ offset: true, error: 'must be an RFC 3339 date-time such as 2027-01-31T12:00:00Z' })
  .refine((value) => isStorable(new Date(value)), 'must lie in the years 1 to 9999')
  .transform((value) => new Date(value).toISOString())

/** The id of a user. That there is one is for the tenant's tables to say, in the same words. */
export const assignee = idOf(ASSIGNEE)

const fields = {
  title: text(1, 200),
  description: text(0, 10_000).nullable(),
  priority: z.enum(PRIORITIES),
  tags: z.array(text(1, 50)).max(20, 'must have at most 20 tags'),
  dueDate: dateTime.nullable(),
  assignee: assignee.nullable(),
}

const EXAMPLE = { title: 'Water the plants', priority: 'high', tags: ['garden'] }

/** The body of a new task. */
export const newTask = z
  .strictObject({
    title: fields.title,
    description: fields.description.default(null),
    priority: fields.priority.default('medium'),
    tags: fields.tags.default([]),
    dueDate: fields.dueDate.default(null),
    assignee: fields.assignee.default(null),
  })
  .meta({ examples: [EXAMPLE] })

/** A task's id and what to change; null clears. */
export const taskEdit = z
  .strictObject({
    id: idInPath('task'),
    ...z.strictObject(fields).partial().shape,
    status: z.enum(['pending', 'in_progress'], 'must be pending or in_progress; to complete a task, POST to its /complete').optional(),
  })
  .meta({ examples: [EXAMPLE] })

/** Just the task's id. */
export const onlyId = z.strictObject({ id: idInPath('task') })

function isStorable(time: Date): boolean {
  const year = time.getUTCFullYear()
  return year >= 1 && year <= 9999
}
