import { z } from 'zod'
import type { Answer } from '../queries/query.ts'
import type { Row } from '../shards/statement.ts'
import { CURSOR, CURSOR_FAULT, cursorBehind, type List } from './cursor.ts'

const LIMIT = 'must be a whole number from 1 to 100'

/** What every list takes. */
export const pageInput = {
  limit: z
    .string()
    .refine((value) => /^([1-9]\d?|100)$/.test(value), LIMIT)
    .meta({ type: 'integer', minimum: 1, maximum: 100, default: 50, description: 'The most to give.' })
    .transform(Number)
    .default(50),
  cursor: z
    .string()
    .regex(CURSOR, CURSOR_FAULT)
    .meta({ description: 'The `nextCursor` of the page before, with the same filter.' })
    .optional(),
}

/** The shape of a page of such items; `title` is its name in the OpenAPI document. */
export function shownPage<Item extends z.ZodType>(item: Item, title: string, example: object) {
  return z
    .strictObject({
      items: z.array(item),
      nextCursor: z.string().nullable().meta({ description: 'Give it back as `cursor` to go on; null: this is the last page.' }),
    })
    .meta({ title, examples: [{ items: [example], nextCursor: null }] })
}

/** One row out of `page`, whose rows have a `number` in their order from 1 on, an `id` to go on behind, and a `body`; one row more than the page's size tells that it goes on. */
export const ROW_OF_PAGE = `SELECT coalesce(string_agg(body, ',' ORDER BY number) FILTER (WHERE number <= $2::int), '') AS items,
             CASE WHEN count(*) > $2::int THEN (SELECT id FROM page WHERE number = $2::int) END AS next,
             (SELECT position FROM tenantry.head WHERE tenant = $1) AS position
      FROM page`

/**
 * One row: `items`, the JSON of what `from` selects with commas between, newest first; `next`, the id to go on behind, or null; `position` of
 * the head in the same snapshot. $1 is the tenant, $2 the page's size.
 */
export function pageOf(columns: string, from: string): string {
  return `
      WITH page AS (
        SELECT row_number() OVER (ORDER BY id DESC) AS number, id, row_to_json(item)::text AS body
        FROM (SELECT ${columns} FROM ${from} ORDER BY id DESC LIMIT $2::int + 1) item
      )
      ${ROW_OF_PAGE}`
}

/** Turns such a row into the answer. */
export function pageAnswer([row]: readonly Row[], list: List): Answer | undefined {
  if (row === undefined) return undefined
  const { next } = row
  const nextCursor = next === null ? null : cursorBehind(list, String(next))
  return { body: `{"items":[${row.items}],"nextCursor":${JSON.stringify(nextCursor)}}`, position: Number(row.position) }
}
