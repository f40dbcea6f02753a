import { formatCloudEvent } from '../../events/cloud-event.ts'
import { eventsAfter, toStoredEvent } from '../../events/store.ts'
import type { Exported } from '../exported.ts'
import { shownEvent } from './output.ts'

/** The tenant's history, each event as it is published. */
export const exportedEvents: Exported = {
  name: 'events',
  output: shownEvent,
  page: (tenantUid, after = '0', limit) => eventsAfter(tenantUid, Number(after), limit),
  read: (row, tenantUid) => ({ key: String(row.position), body: formatCloudEvent(toStoredEvent(tenantUid, row)) }),
}
