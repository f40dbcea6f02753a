import { eventsAfter, toStoredEvent } from '../events/store.ts'
import type { AtEnd, Run, Session, Tenant } from '../shards/session.ts'
import { advanceCheckpoint, lockCheckpoint } from './checkpoint.ts'
import type { Projection, StoredEvent } from './projection.ts'

const PAGE = 500

/**
 * Brings a projection of one tenant up to `target` (infinite: all there is), in transactions that each move read model and checkpoint together, and
 * gives the position it stands at. `arrived` saves reading what follows the checkpoint without a gap; whatever is missing,
 * doubled or out of order in it is made good from the event table.
 */
export async function catchUp(
  session: Session,
  projection: Projection,
  tenant: Tenant,
  arrived: readonly StoredEvent[],
  target: number,
): Promise<number> {
  let reached = 0
  let hasMore = true
  while (hasMore) {
    const step = await session.transaction(tenant, (...of) => advance(of, projection, tenant.uid, arrived, target))
    reached = step.position
    hasMore = step.hasMore && reached < target
  }
  return reached
}

type Progress = { position: number; hasMore: boolean }

async function advance(
  [run, atEnd]: [Run, AtEnd],
  projection: Projection,
  uid: string,
  arrived: readonly StoredEvent[],
  target: number,
): Promise<Progress> {
  const checkpoint = await lockCheckpoint(run, uid, projection.name)
  if (checkpoint >= target) return { position: checkpoint, hasMore: false }
  const next = following(arrived, checkpoint)
  const events = next.at(-1)?.position === target ? next : await readAfter(run, uid, checkpoint)
  const last = events.at(-1)
  // The table knows nothing beyond: the message was not about an event of this history.
  if (last === undefined) return { position: checkpoint, hasMore: false }
  atEnd(...projection.apply(uid, events), advanceCheckpoint(uid, projection.name, last.position))
  return { position: last.position, hasMore: true }
}

/** What comes right behind the checkpoint, each event once, up to the first gap. */
function following(arrived: readonly StoredEvent[], checkpoint: number): StoredEvent[] {
  const events: StoredEvent[] = []
  for (const event of arrived.toSorted((a, b) => a.position - b.position)) {
    if (event.position === checkpoint + events.length + 1) events.push(event)
  }
  return events
}

async function readAfter(run: Run, uid: string, checkpoint: number): Promise<StoredEvent[]> {
  const rows = await run(eventsAfter(uid, checkpoint, PAGE))
  return rows.map((row) => toStoredEvent(uid, row))
}
