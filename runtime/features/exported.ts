import type { z } from 'zod'
import type { Row, Statement } from '../shards/statement.ts'

/** Something of a tenant that an export holds: rows in the order of a key that no row changes and new ones raise. */
export type Exported = {
  /** What its lines are called. */
  name: string
  /** The shape of a row's JSON. */
  output: z.ZodType
  /** At most `limit` rows behind the key `after`; undefined: from the first on. */
  page: (tenantUid: string, after: string | undefined, limit: number) => Statement
  /** The key of a row, and its JSON. */
  read: (row: Row, tenantUid: string) => { key: string; body: string }
}

const FIRST = '00000000-0000-0000-0000-000000000000'

/** A table whose key is `id`, with columns as callers see them. */
export function exportedTable(table: string, columns: string, output: z.ZodType): Exported {
  return {
    name: table,
    output,
    page: (tenantUid, after = FIRST, limit) => ({
      name: `${table}.export`,
      text: (schema) => `
        SELECT id, row_to_json(item)::text AS body
        FROM (SELECT ${columns} FROM ${schema}${table} WHERE tenant_id = $1 AND id > $2::uuid ORDER BY id LIMIT $3::int) item`,
      values: [tenantUid, after, limit],
    }),
    read: ({ id, body }) => ({ key: String(id), body: String(body) }),
  }
}
