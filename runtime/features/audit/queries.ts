import { z } from 'zod'
import type { Query } from '../../queries/query.ts'
import type { Statement } from '../../shards/statement.ts'
import { idBehind, listOf } from '../cursor.ts'
import { pageAnswer, pageInput, ROW_OF_PAGE } from '../page.ts'
import { LINE, linesBeside, linesDone } from './lines.ts'
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

const NEWEST = [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] as const

/** The place of a line, and so the cursor behind it, is its position and its number in hex. */
function listAudit(tenantUid: string, filter: Filter): Statement {
  const place = filter.cursor === undefined ? undefined : idBehind(auditList(tenantUid, filter), filter.cursor)
  const [position, number] = place === undefined ? NEWEST : [Number(`0x${place.slice(0, 16)}`), Number(`0x${place.slice(16)}`)]
  return {
    name: 'audit.list',
    text: (schema) => `
      WITH done AS (
        ${linesDone(schema)}
        WHERE tenant_id = $1 AND position <= $3 AND (position < $3 OR $4::bigint > 0) AND command IS NOT NULL
          AND ($5::text IS NULL OR caller = $5) AND ($6::text IS NULL OR command = $6)
        ORDER BY position DESC LIMIT $2::int + 1
      ), beside AS (
        ${linesBeside(schema)}
        WHERE tenant_id = $1 AND (position, number) < ($3, $4) AND ($5::text IS NULL OR caller = $5) AND ($6::text IS NULL OR action = $6)
        ORDER BY position DESC, number DESC LIMIT $2::int + 1
      ), page AS (
        SELECT row_number() OVER (ORDER BY position DESC, line.number DESC) AS number,
               lpad(to_hex(position), 16, '0') || lpad(to_hex(line.number), 16, '0') AS id,
               ${LINE} AS body
        FROM (SELECT * FROM done UNION ALL SELECT * FROM beside ORDER BY position DESC, number DESC LIMIT $2::int + 1) line
      )
      ${ROW_OF_PAGE}`,
    values: [tenantUid, filter.limit, position, number, filter.actor ?? null, filter.action ?? null],
  }
}
