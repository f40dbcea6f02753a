export const PRIORITIES = ['low', 'medium', 'high', 'urgent'] as const
export const STATUSES = ['pending', 'in_progress', 'completed'] as const

/** What an assignee must be. */
export const ASSIGNEE = "must be the id of one of the tenant's users"

export type Priority = (typeof PRIORITIES)[number]
export type Status = (typeof STATUSES)[number]

/** A task as commands leave it. Times are RFC 3339, milliseconds, UTC. */
export type Task = {
  id: string
  title: string
  description: string | null
  priority: Priority
  status: Status
  tags: readonly string[]
  dueDate: string | null
  /** The id of a user. */
  assignee: string | null
  createdAt: string
  updatedAt: string
  completedAt: string | null
}

/** What the statistics count by. Events carry it as it was and as it is, so that a projection needs no look at the task. */
export type Facets = Pick<Task, 'status' | 'priority' | 'dueDate'>

/** What an update may change. */
export type Editable = Pick<Task, 'title' | 'description' | 'priority' | 'tags' | 'dueDate' | 'assignee'> & {
  status: 'pending' | 'in_progress'
}

export type TaskEvent =
  | { type: 'task.created'; data: { task: Task; after: Facets } }
  | { type: 'task.updated'; data: { changed: Partial<Editable>; updatedAt: string; before: Facets; after: Facets } }
  | { type: 'task.completed'; data: { completedAt: string; before: Facets; after: Facets } }
  | { type: 'task.deleted'; data: { before: Facets } }

/** The part of a task that is counted. */
export function facetsOf({ status, priority, dueDate }: Task): Facets {
  return { status, priority, dueDate }
}
