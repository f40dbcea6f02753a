import { z } from 'zod'
import type { Query } from '../../queries/query.ts'
import type { Statement } from '../../shards/statement.ts'
import { time } from '../columns.ts'
import { idBehind, listOf } from '../cursor.ts'
import { pageAnswer, pageInput } from '../page.ts'
import { shownAudit } from './output.ts'

const listInput = z.strictObject({
  ...pageInput,
  actor: z.string().min(1).max(300).meta({ description: 'Only what this credential has asked for.' }).optional(),
  action: z.string().min(1).max(100).meta({ description: 'Only this command, or this read.' }).optional(),
})

type Filter = z.infer<typeof listInput>

const auditList = (tenantUid: string, filter: Filter) => listOf(tenantUid, 'audit', filter)

/** What was done and by whom, newest first, a page at a time. */
export const ListAudit: Query<Filter> = {
  name: 'ListAudit',
  summary: 'The audit log, newest first, a page at a time',
  scope: 'tenant:admin',
  route: { path: '/v1/admin/audit' },
  input: listInput,
  output: shownAudit,
  versioned: false,
  cacheKey: () => undefined,
  statement: listAudit,
  answer: (rows, filter, { uid }) => pageAnswer(rows, auditList(uid, filter)),
}

/** The JSON of a line of the log. */
export const AUDIT_ENTRY = `json_build_object('id', id, 'time', ${time('time')}, 'actor', caller, 'action', action, 'result', result,
                 'target', target, 'requestId', request_id)::text`

const NEWEST = [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] as const

/**
 * What was done stands with its event, the rest in the table: both have the position of the head for their order, and of one position the
 * event comes first. The place of a line, and so the cursor behind it, is its position and its number in hex.
 */
function listAudit(tenantUid: string, filter: Filter): Statement {
  const place = filter.cursor === undefined ? undefined : idBehind(auditList(tenantUid, filter), filter.cursor)
  const [position, number] = place === undefined ? NEWEST : [Number(`0x${place.slice(0, 16)}`), Number(`0x${place.slice(16)}`)]
  return {
    name: 'audit.list',
    text: (schema) => `
      WITH done AS (
        SELECT position, 0::bigint AS number, id, time, caller, command AS action, 'done' AS result, aggregate_id AS target, request_id
        FROM ${schema}events
        WHERE tenant_id = $1 AND position <= $3 AND (position < $3 OR $4::bigint > 0) AND command IS NOT NULL
          AND ($5::text IS NULL OR caller = $5) AND ($6::text IS NULL OR command = $6)
        ORDER BY position DESC LIMIT $2::int + 1
      ), other AS (
        SELECT position, number, id, time, caller, action, result, target, request_id
        FROM ${schema}audit
        WHERE tenant_id = $1 AND (position, number) < ($3, $4) AND ($5::text IS NULL OR caller = $5) AND ($6::text IS NULL OR action = $6)
        ORDER BY position DESC, number DESC LIMIT $2::int + 1
      ), page AS (
        SELECT row_number() OVER (ORDER BY position DESC, number DESC) AS place,
               lpad(to_hex(position), 16, '0') || lpad(to_hex(number), 16, '0') AS next,
               ${AUDIT_ENTRY} AS body
        FROM (SELECT * FROM done UNION ALL SELECT * FROM other ORDER BY position DESC, number DESC LIMIT $2::int + 1) line
      )
      SELECT coalesce(string_agg(body, ',' ORDER BY place) FILTER (WHERE place <= $2::int), '') AS items,
             CASE WHEN count(*) > $2::int THEN (SELECT next FROM page WHERE place = $2::int) END AS next,
             (SELECT position FROM tenantry.head WHERE tenant = $1) AS position
      FROM page`,
    values: [tenantUid, filter.limit, position, number, filter.actor ?? null, filter.action ?? null],
  }
}
