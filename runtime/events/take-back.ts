import type { Session, Tenant } from '../shards/session.ts'
import type { Statement } from '../shards/statement.ts'
import { parseCloudEvent } from './cloud-event.ts'
import type { Jetstream } from './jetstream.ts'

/**
 * Takes the last events of a tenant out of the stream as far as the database does not know them, which was restored to a time before them,
 * and has the relay go on behind the last one that both know. Gives how many were taken out.
 */
export async function takeBack(
  session: Pick<Session, 'read'>,
  jetstream: Pick<Jetstream, 'last' | 'remove'>,
  tenant: Tenant,
): Promise<number> {
  let taken = 0
  let lowest: number | undefined
  for (;;) {
    const message = await jetstream.last(tenant.uid)
    const event = message && parseCloudEvent(message.text)
    if (message === undefined || event === undefined) break
    const [known] = await session.read(tenant, knownAt(tenant.uid, event.position, event.id))
    if (known === undefined) throw new Error('the database does not know the tenant')
    lowest = event.position
    if (known.known === true) break
    await jetstream.remove(message.sequence)
    lowest -= 1
    taken += 1
  }
  if (lowest !== undefined) await session.read(tenant, setBack(tenant.uid, lowest))
  return taken
}

/** Whether the event at this position is the one of that id; one that was removed for its age is taken for it. */
function knownAt(tenantUid: string, position: number, id: string): Statement {
  return {
    name: 'events.known',
    text: (schema) => `
      SELECT h.position >= $2 AND coalesce(e.id = $3::uuid, true) AS known
      FROM tenantry.head h LEFT JOIN ${schema}events e ON e.tenant_id = $1 AND e.position = $2 WHERE h.tenant = $1`,
    values: [tenantUid, position, id],
  }
}

/** Nothing behind `position` is in the stream, whatever was noted before. */
function setBack(tenantUid: string, position: number): Statement {
  return {
    name: 'relayed.back',
    text: () => 'UPDATE tenantry.relayed SET position = $2 WHERE tenant = $1 AND position > $2',
    values: [tenantUid, position],
  }
}
