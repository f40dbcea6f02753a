import type { Statement, Value } from '../../shards/statement.ts'
import { idBehind, type List, listOf } from '../cursor.ts'
import { pageOf } from '../page.ts'
import { TASK_COLUMNS } from './repository.ts'

/** What a list may be narrowed to, and where it goes on. */
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
  assignee: (p: string) => `assignee_id = ${p}::uuid`,
  cursor: (p: string) => `id < ${p}::uuid`,
} as const

const FILTERS = ['status', 'priority', 'tag', 'assignee', 'cursor'] as const

/** What its cursors are good for. */
export function taskList(tenantUid: string, filter: ListFilter): List {
  return listOf(tenantUid, 'tasks', filter)
}

/** A page of tasks, see `pageOf`. Each set of filters is a statement of its own, so that each has a plan of its own. */
export function listTasks(tenantUid: string, { cursor, ...rest }: ListFilter): Statement {
  const filter: ListFilter = cursor === undefined ? rest : { ...rest, cursor: idBehind(taskList(tenantUid, rest), cursor) }
  const used = FILTERS.filter((name) => filter[name] !== undefined)
  const where = used.map((name, index) => ` AND ${CONDITIONS[name](`$${index + 3}`)}`).join('')
  const values: Value[] = used.map((name) => filter[name] ?? null)
  return {
    name: `task.list.${used.join('.')}`,
    text: (schema) => pageOf(TASK_COLUMNS, `${schema}tasks WHERE tenant_id = $1${where}`),
    values: [tenantUid, filter.limit, ...values],
  }
}
