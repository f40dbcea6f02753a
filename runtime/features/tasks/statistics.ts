import type { Copy, Projection, StoredEvent } from '../../projections/projection.ts'
import type { Statement } from '../../shards/statement.ts'
import { PRIORITIES, STATUSES } from './task.ts'

const NAME = 'task-statistics'

/** Counts tasks by what the events say they were and are. */
export const taskStatisticsProjection: Projection = {
  name: NAME,
  tables: ['task_counts', 'task_due'],
  apply: (tenantUid, events, copy) => {
    const changes = JSON.stringify(events.flatMap(countings))
    return changes === '[]' ? [] : [countKinds, countDue, dropEmpty].map((count) => count(tenantUid, changes, copy))
  },
}

/** One row: `body`, the statistics as JSON, and the `position` up to which the projection had counted. */
export function taskStatistics(tenantUid: string): Statement {
  return {
    name: 'task.statistics',
    text: (schema) => `
      WITH counts AS (SELECT status, priority, tasks FROM ${schema}task_counts WHERE tenant_id = $1)
      SELECT row_to_json(shown)::text AS body,
             coalesce((SELECT position FROM ${schema}checkpoints WHERE tenant_id = $1 AND projection = '${NAME}'), 0) AS position
      FROM (
        SELECT ${sum('true')} AS total, ${sum("status = 'completed'")} AS completed, ${sum("status = 'pending'")} AS pending,
               (SELECT coalesce(sum(tasks), 0)::bigint FROM ${schema}task_due WHERE tenant_id = $1 AND due_date < now()) AS overdue,
               (SELECT row_to_json(p) FROM (SELECT ${PRIORITIES.map((name) => `${sum(`priority = '${name}'`)} AS ${name}`)} FROM counts) p) AS "byPriority",
               (SELECT row_to_json(s) FROM (SELECT ${STATUSES.map((name) => `${sum(`status = '${name}'`)} AS ${name}`)} FROM counts) s) AS "byStatus"
        FROM counts
      ) shown`,
    values: [tenantUid],
  }
}

function sum(condition: string): string {
  return `coalesce(sum(tasks) FILTER (WHERE ${condition}), 0)::bigint`
}

/** What an event takes away from the counts and what it adds. */
function countings({ data }: StoredEvent): object[] {
  const { before, after } = data
  return [...(before ? [{ ...Object(before), by: -1 }] : []), ...(after ? [{ ...Object(after), by: 1 }] : [])]
}

function countKinds(tenantUid: string, changes: string, copy: Copy): Statement {
  return {
    name: `task.count-kinds${copy}`,
    text: (schema) => `
      INSERT INTO ${schema}task_counts${copy} AS known (tenant_id, status, priority, tasks)
      SELECT $1, status, priority, sum(by)
      FROM jsonb_to_recordset($2::jsonb) AS c (status text, priority text, by int)
      GROUP BY status, priority
      ON CONFLICT (tenant_id, status, priority) DO UPDATE SET tasks = known.tasks + excluded.tasks`,
    values: [tenantUid, changes],
  }
}

// Only open tasks can be overdue.
function countDue(tenantUid: string, changes: string, copy: Copy): Statement {
  return {
    name: `task.count-due${copy}`,
    text: (schema) => `
      INSERT INTO ${schema}task_due${copy} AS known (tenant_id, due_date, tasks)
      SELECT $1, "dueDate", sum(by)
      FROM jsonb_to_recordset($2::jsonb) AS c (status text, "dueDate" timestamptz, by int)
      WHERE status <> 'completed' AND "dueDate" IS NOT NULL
      GROUP BY "dueDate"
      ON CONFLICT (tenant_id, due_date) DO UPDATE SET tasks = known.tasks + excluded.tasks`,
    values: [tenantUid, changes],
  }
}

function dropEmpty(tenantUid: string, changes: string, copy: Copy): Statement {
  return {
    name: `task.drop-empty${copy}`,
    text: (schema) => `
      DELETE FROM ${schema}task_due${copy}
      WHERE tenant_id = $1 AND tasks = 0
        AND due_date = ANY (ARRAY(SELECT "dueDate" FROM jsonb_to_recordset($2::jsonb) AS c ("dueDate" timestamptz)))`,
    values: [tenantUid, changes],
  }
}
