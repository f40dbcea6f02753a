import type { Retention } from '../../retention/retention.ts'

/** Completed tasks go when they have been so for longer than `taskRetentionDays`. */
export const taskRetention: Retention = {
  setting: 'taskRetentionDays',
  command: 'DeleteTask',
  find: (tenantUid, days, limit) => ({
    name: 'task.over',
    text: (schema) => `
      SELECT id, version FROM ${schema}tasks
      WHERE tenant_id = $1 AND completed_at < now() - make_interval(days => $2::int) ORDER BY completed_at LIMIT $3`,
    values: [tenantUid, days, limit],
  }),
}
