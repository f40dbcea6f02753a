import { exportedTable } from '../exported.ts'
import type { Feature } from '../feature.ts'
import { assignee, CompleteTask, CreateTask, DeleteTask, UpdateTask } from './commands.ts'
import { shownTask } from './output.ts'
import { GetTask, ListTasks, TaskStatistics } from './queries.ts'
import { TASK_COLUMNS } from './repository.ts'
import { taskRetention } from './retention.ts'
import { taskStatisticsProjection } from './statistics.ts'

/** Tasks and their statistics. */
export const tasks: Feature = {
  name: 'tasks',
  commands: [CreateTask, UpdateTask, CompleteTask, DeleteTask],
  queries: [TaskStatistics, GetTask, ListTasks],
  projections: [taskStatisticsProjection],
  references: [assignee],
  retentions: [taskRetention],
  exports: [exportedTable('tasks', TASK_COLUMNS, shownTask)],
  invalidates: ({ type, aggregateId }) => (type.startsWith('task.') ? [`task:${aggregateId}`, 'tasks:statistics'] : []),
}
