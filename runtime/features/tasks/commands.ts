import type { z } from 'zod'
import type { Aggregate, Command } from '../../commands/command.ts'
import type { Reference } from '../../commands/reference.ts'
import { TenantryError } from '../../errors.ts'
import { readRow } from '../row.ts'
import { completeTask, createTask, deleteTask, updateTask } from './decide.ts'
import { evolve } from './evolve.ts'
import { newTask, onlyId, taskEdit } from './input.ts'
import { shownTask } from './output.ts'
import { assignedTo, renderTask, saveTasks, taskById } from './repository.ts'
import { ASSIGNEE, type Task, type TaskEvent } from './task.ts'

const task: Aggregate<Task, TaskEvent> = {
  name: 'task',
  quota: 'tasks',
  load: taskById,
  read: readRow,
  evolve,
  save: saveTasks,
  refusals: {
    assignee: () =>
      new TenantryError('invalid-request', 'The input is not valid; see errors.', { faults: [{ field: 'assignee', message: ASSIGNEE }] }),
  },
  render: renderTask,
  output: shownTask,
}

/** A task refers to the user that it is assigned to. */
export const assignee: Reference<Task, TaskEvent> = {
  to: 'user',
  aggregate: task,
  find: assignedTo,
  letGo: (state, moment) => updateTask({ assignee: null }, state, moment),
}

/** Makes a task. */
export const CreateTask: Command<z.infer<typeof newTask>, Task, TaskEvent> = {
  name: 'CreateTask',
  summary: 'Make a task',
  scope: 'tasks:write',
  route: { method: 'POST', path: '/v1/tasks', status: 201 },
  input: newTask,
  aggregate: task,
  grows: true,
  target: () => undefined,
  decide: (input, _, moment) => createTask(input, moment),
}

/** Changes what the caller names, and leaves the rest. */
export const UpdateTask: Command<z.infer<typeof taskEdit>, Task, TaskEvent> = {
  name: 'UpdateTask',
  summary: 'Change what is named of a task, and leave the rest',
  scope: 'tasks:write',
  route: { method: 'PATCH', path: '/v1/tasks/{id}', status: 200 },
  input: taskEdit,
  aggregate: task,
  grows: true,
  target: ({ id }) => id,
  decide: ({ id: _, ...edit }, state, moment) => updateTask(edit, state, moment),
}

/** Marks a task as done, once. */
export const CompleteTask: Command<z.infer<typeof onlyId>, Task, TaskEvent> = {
  name: 'CompleteTask',
  summary: 'Mark a task as done, once',
  scope: 'tasks:write',
  route: { method: 'POST', path: '/v1/tasks/{id}/complete', status: 200 },
  input: onlyId,
  aggregate: task,
  grows: false,
  target: ({ id }) => id,
  decide: (_, state, moment) => completeTask(state, moment),
}

/** Removes a task; its events stay. */
export const DeleteTask: Command<z.infer<typeof onlyId>, Task, TaskEvent> = {
  name: 'DeleteTask',
  summary: 'Remove a task',
  scope: 'tasks:write',
  route: { method: 'DELETE', path: '/v1/tasks/{id}', status: 204 },
  input: onlyId,
  aggregate: task,
  grows: false,
  target: ({ id }) => id,
  decide: (_, state) => deleteTask(state),
}
