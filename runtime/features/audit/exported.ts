import type { Exported } from '../exported.ts'
import { LINE, linesBeside, linesDone } from './lines.ts'
import { shownEntry } from './output.ts'

/** The audit log in its own order, oldest first; its keys are position, number and id. */
export const exportedAudit: Exported = {
  name: 'audit',
  output: shownEntry,
  page: (tenantUid, after = '0/0/00000000-0000-0000-0000-000000000000', limit) => {
    const [position = '', number = '', id = ''] = after.split('/')
    return {
      name: 'audit.export',
      text: (schema) => `
        SELECT position || '/' || number || '/' || id AS key, ${LINE} AS body
        FROM (
          (${linesDone(schema)}
           WHERE tenant_id = $1 AND position >= $2::bigint AND (position, 0::bigint, id) > ($2, $3::bigint, $4::uuid) AND command IS NOT NULL
           ORDER BY position LIMIT $5::int)
          UNION ALL
          (${linesBeside(schema)} WHERE tenant_id = $1 AND (position, number, id) > ($2, $3, $4) ORDER BY position, number, id LIMIT $5)
        ) line
        ORDER BY position, number, id LIMIT $5`,
      values: [tenantUid, position, number, id, limit],
    }
  },
  read: ({ key, body }) => ({ key: String(key), body: String(body) }),
}
