import type { Task, TaskEvent } from './task.ts'

/** The task after the event; null when it is not there. */
export function evolve(task: Task | null, event: TaskEvent): Task | null {
  if (event.type === 'task.created') return event.data.task
  if (task === null || event.type === 'task.deleted') return null
  if (event.type === 'task.completed') {
    const { completedAt } = event.data
    return { ...task, status: 'completed', completedAt, updatedAt: completedAt }
  }
  const { changed, updatedAt } = event.data
  // A completed task that is taken up again is no longer completed at any time.
  const completedAt = changed.status === undefined ? task.completedAt : null
  return { ...task, ...changed, completedAt, updatedAt }
}
