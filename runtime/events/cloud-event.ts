import { z } from 'zod'
import type { StoredEvent } from '../projections/projection.ts'

const schema = z.object({
  specversion: z.literal('1.0'),
  id: z.string(),
  source: z.string(),
  type: z.string(),
  subject: z.string(),
  time: z.string(),
  data: z.record(z.string(), z.unknown()),
  tenantid: z.uuid(),
  aggregateversion: z.int(),
  position: z.int(),
})

/** An event as CloudEvents 1.0 JSON. `userid` names the user that it is about. */
export function formatCloudEvent(event: StoredEvent): string {
  return JSON.stringify({
    specversion: '1.0',
    id: event.id,
    source: `/tenants/${event.tenantUid}`,
    type: event.type,
    subject: event.aggregateId,
    time: event.time,
    datacontenttype: 'application/json',
    tenantid: event.tenantUid,
    aggregateversion: event.aggregateVersion,
    position: event.position,
    ...(event.type.startsWith('user.') ? { userid: event.aggregateId } : {}),
    data: event.data,
  })
}

/** Reads what `formatCloudEvent` wrote; undefined when it is anything else. */
export function parseCloudEvent(text: string): StoredEvent | undefined {
  const result = schema.safeParse(parseJson(text))
  if (!result.success) return undefined
  const { tenantid, position, id, type, subject, aggregateversion, data, time } = result.data
  return { tenantUid: tenantid, position, id, type, aggregateId: subject, aggregateVersion: aggregateversion, data, time }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
