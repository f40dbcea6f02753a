import type { Change, Most } from '../../commands/command.ts'
import { append, changeValues, number, saved } from '../../events/store.ts'
import type { Statement } from '../../shards/statement.ts'
import { time } from '../columns.ts'
import { rowById } from '../row.ts'
import type { Task } from './task.ts'

/** What callers see of a task; `render` gives the same fields in the same order. */
export const TASK_COLUMNS = `id, title, description, priority, status, tags, ${time('due_date')} AS "dueDate", assignee_id AS assignee, version,
  ${time('created_at')} AS "createdAt", ${time('updated_at')} AS "updatedAt", ${time('completed_at')} AS "completedAt"`

/** One task: `body` is its JSON, with `version` and the `position` of its last event. */
export function taskById(tenantUid: string, id: string): Statement {
  return rowById('task', 'tasks', TASK_COLUMNS, tenantUid, id)
}

/** The tasks of a user as `taskById` gives them, each with its id; at most `limit`. */
export function assignedTo(tenantUid: string, user: string, limit: number): Statement {
  return {
    name: 'task.assigned-to',
    text: (schema) => `
      SELECT id, (SELECT row_to_json(shown) FROM (SELECT ${TASK_COLUMNS}) shown)::text AS body, version, position
      FROM ${schema}tasks WHERE tenant_id = $1 AND assignee_id = $2 ORDER BY id LIMIT $3`,
    values: [tenantUid, user, limit],
  }
}

/** The JSON of a task, byte for byte what `taskById` gives. */
export function renderTask(task: Task, version: number): string {
  const { id, title, description, priority, status, tags, dueDate, assignee, createdAt, updatedAt, completedAt } = task
  return JSON.stringify({ id, title, description, priority, status, tags, dueDate, assignee, version, createdAt, updatedAt, completedAt })
}

const NO_USER = (schema: string) => `CASE WHEN c.after ->> 'assignee' IS NOT NULL AND NOT EXISTS (
      SELECT FROM ${schema}users u WHERE u.tenant_id = $1 AND u.id = (c.after ->> 'assignee')::uuid) THEN 'assignee' END`

/** Writes changed tasks, removes deleted ones, appends their events and advances the head. Refuses an `assignee` who is no user. */
export function saveTasks(tenantUid: string, epoch: number, changes: readonly Change<Task>[], most: Most): Statement {
  return {
    name: 'task.save',
    text: (schema) => `
      WITH ${number(schema, { table: 'tasks', columns: TASK_COLUMNS }, NO_USER(schema))}, written AS (
        INSERT INTO ${schema}tasks (tenant_id, id, title, description, priority, status, tags, due_date, assignee_id, version, position,
                                    created_at, updated_at, completed_at)
        SELECT $1, n.id, t.title, t.description, t.priority, t.status, t.tags, t."dueDate", t.assignee, n.next, n.position,
               t."createdAt", t."updatedAt", t."completedAt"
        FROM numbered n CROSS JOIN jsonb_to_record(n.after) AS t (
          title text, description text, priority text, status text, tags text[], "dueDate" timestamptz, assignee uuid,
          "createdAt" timestamptz, "updatedAt" timestamptz, "completedAt" timestamptz)
        WHERE n.after IS NOT NULL
        ON CONFLICT (tenant_id, id) DO UPDATE SET
          title = excluded.title, description = excluded.description, priority = excluded.priority, status = excluded.status,
          tags = excluded.tags, due_date = excluded.due_date, assignee_id = excluded.assignee_id, version = excluded.version,
          position = excluded.position, updated_at = excluded.updated_at, completed_at = excluded.completed_at
      ), removed AS (
        DELETE FROM ${schema}tasks WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT n.id FROM numbered n WHERE n.after IS NULL))
      ), ${append(schema, 'tasks')}
      ${saved}`,
    values: changeValues(tenantUid, epoch, changes, most),
  }
}
