import type { Feature } from '../feature.ts'
import { exportedAudit } from './exported.ts'
import { ListAudit } from './queries.ts'
import { auditRetentions } from './retention.ts'

/** Who has done what. */
export const audit: Feature = {
  name: 'audit',
  commands: [],
  queries: [ListAudit],
  projections: [],
  exports: [exportedAudit],
  retentions: auditRetentions,
  invalidates: () => [],
}
