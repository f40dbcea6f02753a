import type { Loaded } from '../commands/command.ts'
import type { Answer } from '../queries/query.ts'
import type { Row, Statement } from '../shards/statement.ts'

/** One row of a table: `body` is its JSON with these columns, `version` among them, with `version` and the `position` of its last event. */
export function rowById(thing: string, table: string, columns: string, tenantUid: string, id: string): Statement {
  return {
    name: `${thing}.by-id`,
    text: (schema) => `
      SELECT (SELECT row_to_json(shown) FROM (SELECT ${columns}) shown)::text AS body, version, position
      FROM ${schema}${table} WHERE tenant_id = $1 AND id = $2`,
    values: [tenantUid, id],
  }
}

/** Turns a row of `rowById` into what commands decide on. */
export function readRow<State>(row: Row): Loaded<State> {
  const { version, ...state } = JSON.parse(String(row.body))
  return { state, version, position: Number(row.position) }
}

/** Turns the row of `rowById` into the answer; undefined: there is none. */
export function rowAnswer([row]: readonly Row[]): Answer | undefined {
  return row && { body: String(row.body), position: Number(row.position), version: Number(row.version) }
}
