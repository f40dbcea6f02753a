import type { Retention } from '../../retention/retention.ts'

const setting = 'auditRetentionDays'

/** Lines of the audit log go after `auditRetentionDays`: those of the table as rows, those that stand on events by themselves, and the event stays. */
export const auditRetentions: readonly Retention[] = [
  {
    setting,
    remove: (tenantUid, days, limit) => ({
      name: 'audit.remove',
      text: (schema) => `
        DELETE FROM ${schema}audit WHERE tenant_id = $1 AND (position, number, id) IN (
          SELECT position, number, id FROM ${schema}audit
          WHERE tenant_id = $1 AND time < now() - make_interval(days => $2::int) ORDER BY time LIMIT $3)
        RETURNING id`,
      values: [tenantUid, days, limit],
    }),
  },
  {
    setting,
    // No more is read than may go: events have about the order of their times, and what a sweep stops at the next one begins with.
    remove: (tenantUid, days, limit) => ({
      name: 'audit.clear',
      text: (schema) => `
        WITH ahead AS (
          SELECT position, time FROM ${schema}events
          WHERE tenant_id = $1 AND position > (SELECT audited FROM ${schema}sweeps WHERE tenant_id = $1) ORDER BY position LIMIT $3
        ), due AS (
          SELECT position FROM ahead WHERE time < now() - make_interval(days => $2::int)
        ), cleared AS (
          UPDATE ${schema}events e SET command = NULL, caller = NULL, request_id = NULL
          FROM due WHERE e.tenant_id = $1 AND e.position = due.position
        ), noted AS (
          UPDATE ${schema}sweeps SET audited = (SELECT max(position) FROM due) WHERE tenant_id = $1 AND EXISTS (SELECT FROM due)
        )
        SELECT position FROM due`,
      values: [tenantUid, days, limit],
    }),
  },
]
