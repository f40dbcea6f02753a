import { eventsRead, removeEvents } from '../events/removal.ts'
import { toStoredEvent } from '../events/store.ts'
import type { Projection } from '../projections/projection.ts'
import { advanceSnapshots, lockSnapshots } from '../projections/snapshot.ts'
import type { Retention } from './retention.ts'

/**
 * Events go after `eventRetentionDays`, the first ones first, when they have been relayed and every projection has read them. What they say goes into the
 * snapshots of all projections in the same transaction, so that a model can be made from there at any time.
 */
export function eventRetention(projections: readonly Projection[]): Retention {
  const names = projections.map(({ name }) => name)
  return {
    setting: 'eventRetentionDays',
    removeIn: async ([run, atEnd], tenantUid, days, limit) => {
      const snapshots = await lockSnapshots(run, tenantUid, projections)
      const reached = (projection: Projection) => snapshots.get(projection.name) ?? 0
      const first = Math.min(...projections.map(reached))
      const rows = await run(eventsRead(tenantUid, first, names, days, limit))
      const kept = rows.findIndex(({ over }) => over !== true)
      const events = (kept === -1 ? rows : rows.slice(0, kept)).map((row) => toStoredEvent(tenantUid, row))
      const last = events.at(-1)
      if (last === undefined) return 0
      if (events[0]?.position !== first + 1) throw new Error('a projection has no snapshot of events that were removed: all others stay')
      const folds = projections.flatMap((projection) =>
        projection.apply(
          tenantUid,
          events.filter(({ position }) => position > reached(projection)),
          '_snapshot',
        ),
      )
      atEnd(...folds, advanceSnapshots(tenantUid, projections, last.position), removeEvents(tenantUid, last.position))
      return events.length
    },
  }
}
