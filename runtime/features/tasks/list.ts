import type { Statement, Value } from '../../shards/statement.ts'
import { TASK_COLUMNS } from './repository.ts'

/** What a list may be narrowed to; `cursor` is the id of the last task of the page before. */
export type ListFilter = {
  status?: string | undefined
  priority?: string | undefined
  tag?: string | undefined
  assignee?: string | undefined
  cursor?: string | undefined
  limit: number
}

const CONDITIONS = {
  status: (p: string) => `status = ${p}`,
  priority: (p: string) => `priority = ${p}`,
  tag: (p: string) => `tags @> ARRAY[${p}::text]`,
  assignee: (p: string) => `assignee = ${p}`,
  cursor: (p: string) => `id < ${p}::uuid`,
} as const

const FILTERS = ['status', 'priority', 'tag', 'assignee', 'cursor'] as const

/**
 * One row: `items`, the tasks' JSON with commas between, newest first; `next`, the id to go on behind, or null; `position`
 * of the head in the same snapshot. Each set of filters is a statement of its own, so that each has a plan of its own.
 */
export function listTasks(tenantUid: string, filter: ListFilter): Statement {
  const used = FILTERS.filter((name) => filter[name] !== undefined)
  const where = used.map((name, index) => ` AND ${CONDITIONS[name](`$${index + 3}`)}`).join('')
  const values: Value[] = used.map((name) => filter[name] ?? null)
  return {
    name: `task.list.${used.join('.')}`,
    text: (schema) => `
      WITH page AS (
        SELECT row_number() OVER (ORDER BY id DESC) AS number, id, row_to_json(task)::text AS body
        FROM (SELECT ${TASK_COLUMNS} FROM ${schema}tasks WHERE tenant_id = $1${where} ORDER BY tasks.id DESC LIMIT $2::int + 1) task
      )
      SELECT coalesce(string_agg(body, ',' ORDER BY id DESC) FILTER (WHERE number <= $2::int), '') AS items,
             CASE WHEN count(*) > $2::int THEN (SELECT id FROM page WHERE number = $2::int) END AS next,
             (SELECT position FROM tenantry.head WHERE tenant = $1) AS position
      FROM page`,
    values: [tenantUid, filter.limit, ...values],
  }
}
