import { z } from 'zod'
import { TenantryError } from '../../errors.ts'
import { PRIORITIES } from './task.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Text of so many characters that Postgres can hold: no null byte, no half of a surrogate pair. */
export function text(min: number, max: number) {
  return z
    .string()
    .refine((value) => !value.includes('\u0000') && value.isWellFormed(), 'must not contain a null byte or broken Unicode')
    .refine((value) => count(value, max) >= min, `must have at least ${min} character${min === 1 ? '' : 's'}`)
    .refine((value) => count(value, max) <= max, `must have at most ${max} characters`)
    .meta({ minLength: min, maxLength: max })
}

/** The id in a path. What is no UUID names nothing: `not-found`. */
const taskId = z
  .string()
  .meta({ format: 'uuid', description: 'The id of the task.' })
  .transform((id) => {
    if (!UUID.test(id)) throw new TenantryError('not-found', 'There is no such task.')
    return id.toLowerCase()
  })

/** An RFC 3339 date-time, made UTC with milliseconds; the years are 1 to 9999. */
const dateTime = z.iso
  .datetime({ offset: true, error: 'must be an RFC 3339 date-time such as 2027-01-31T12:00:00Z' })
  .refine((value) => isStorable(new Date(value)), 'must lie in the years 1 to 9999')
  .transform((value) => new Date(value).toISOString())

const fields = {
  title: text(1, 200),
  description: text(0, 10_000).nullable(),
  priority: z.enum(PRIORITIES),
  tags: z.array(text(1, 50)).max(20, 'must have at most 20 tags'),
  dueDate: dateTime.nullable(),
  assignee: text(1, 200).nullable(),
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
    id: taskId,
    ...z.strictObject(fields).partial().shape,
    status: z.enum(['pending', 'in_progress'], 'must be pending or in_progress; to complete a task, POST to its /complete').optional(),
  })
  .meta({ examples: [EXAMPLE] })

/** Just the task's id. */
export const onlyId = z.strictObject({ id: taskId })

// Characters as people count them, not UTF-16 units; never more work than needed to know.
function count(value: string, max: number): number {
  return value.length > max * 2 ? value.length : Array.from(value).length
}

function isStorable(time: Date): boolean {
  const year = time.getUTCFullYear()
  return year >= 1 && year <= 9999
}
