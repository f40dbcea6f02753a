import type { Moment } from '../../commands/command.ts'
import { TenantryError } from '../../errors.ts'
import { evolve } from './evolve.ts'
import { type Editable, facetsOf, type Task, type TaskEvent } from './task.ts'

/** What a task is made of. */
export type NewTask = Omit<Editable, 'status'>

/** What to change of a task; what is undefined stays. */
export type Edit = { [Field in keyof Editable]?: Editable[Field] | undefined }

/** Makes a task, pending. */
export function createTask(input: NewTask, { now, id }: Moment): TaskEvent[] {
  const time = now.toISOString()
  const task: Task = {
    id,
    title: input.title,
    description: input.description,
    priority: input.priority,
    status: 'pending',
    tags: input.tags,
    dueDate: input.dueDate,
    assignee: input.assignee,
    createdAt: time,
    updatedAt: time,
    completedAt: null,
  }
  return [{ type: 'task.created', data: { task, after: facetsOf(task) } }]
}

/** Changes what differs, nothing if nothing does. Throws `not-found`. */
export function updateTask(edit: Edit, task: Task | null, { now }: Moment): TaskEvent[] {
  const present = found(task)
  const fields = new Map<string, unknown>(Object.entries(present))
  const changed: Partial<Editable> = Object.fromEntries(
    Object.entries(edit).filter(([field, value]) => value !== undefined && differs(value, fields.get(field))),
  )
  if (Object.keys(changed).length === 0) return []
  const data = { changed, updatedAt: now.toISOString(), before: facetsOf(present), after: facetsOf(present) }
  const after = found(evolve(present, { type: 'task.updated', data }))
  return [{ type: 'task.updated', data: { ...data, after: facetsOf(after) } }]
}

/** Completes a task. Throws `not-found`, or `conflict` when it is completed already. */
export function completeTask(task: Task | null, { now }: Moment): TaskEvent[] {
  const present = found(task)
  if (present.status === 'completed') throw new TenantryError('conflict', 'The task is completed already.')
  const before = facetsOf(present)
  return [{ type: 'task.completed', data: { completedAt: now.toISOString(), before, after: { ...before, status: 'completed' } } }]
}

/** Deletes a task. Throws `not-found`. */
export function deleteTask(task: Task | null): TaskEvent[] {
  return [{ type: 'task.deleted', data: { before: facetsOf(found(task)) } }]
}

function found(task: Task | null): Task {
  if (task === null) throw new TenantryError('not-found', 'There is no such task.')
  return task
}

function differs(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) !== JSON.stringify(b)
}
