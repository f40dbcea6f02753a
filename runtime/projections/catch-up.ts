import type { AtEnd, Run, Session, Tenant } from '../shards/session.ts'
import { advanceCheckpoint, lockFollowing } from './checkpoint.ts'
import type { Projection, StoredEvent } from './projection.ts'
import { holdSnapshot, restoreSnapshot } from './snapshot.ts'

const PAGE = 500

/**
 * Brings a projection of one tenant up to `target` (infinite: all there is), in transactions that each move read model and checkpoint together, and
 * gives the position it stands at. Whatever was heard of, what is applied is read from the event table, and what is no longer there from the
 * projection's snapshot: a message may be of a history that the database does not have, since it was restored to an earlier time.
 */
export async function catchUp(session: Session, projection: Projection, tenant: Tenant, target: number): Promise<number> {
  let reached = 0
  let hasMore = true
  while (hasMore) {
    const step = await session.transaction(tenant, (...of) => advance(of, projection, tenant.uid))
    reached = step.position
    hasMore = step.hasMore && reached < target
  }
  return reached
}

type Progress = { position: number; hasMore: boolean }

async function advance([run, atEnd]: [Run, AtEnd], projection: Projection, uid: string): Promise<Progress> {
  const { checkpoint, events } = await lockFollowing(run, uid, projection.name, PAGE)
  const [first] = events
  if (first?.position !== checkpoint + 1) return skip([run, atEnd], projection, uid, checkpoint, first)
  const position = checkpoint + events.length
  atEnd(...projection.apply(uid, events, ''), advanceCheckpoint(uid, projection.name, position))
  return { position, hasMore: true }
}

/** The event behind the checkpoint is not there: it was removed, and the snapshot stands for it, or there is none yet. */
async function skip(
  [run, atEnd]: [Run, AtEnd],
  projection: Projection,
  uid: string,
  checkpoint: number,
  first: StoredEvent | undefined,
): Promise<Progress> {
  const snapshot = await holdSnapshot(run, uid, projection.name)
  if (snapshot > checkpoint) {
    atEnd(...restoreSnapshot(uid, projection), advanceCheckpoint(uid, projection.name, snapshot))
    return { position: snapshot, hasMore: true }
  }
  if (first !== undefined)
    throw new Error(`the events from ${checkpoint + 1} to ${first.position - 1} are gone, and no snapshot stands for them`)
  // The table knows nothing beyond: the message was not about an event of this history.
  return { position: checkpoint, hasMore: false }
}
