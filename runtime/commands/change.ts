import { randomUUID } from 'node:crypto'
import type { Quota } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import type { Row } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { AnyCommand, Change, Committed, Loaded, NewEvent } from './command.ts'

/** Where a change stands after its commit. */
export type Saved = { version: number; position: number }

/** Only a deletion or another limit makes room, and nobody knows when: seconds. */
const ROOM_AFTER = 60

/** What the events make of an aggregate, to be saved. */
export function changeBy(
  aggregate: AnyCommand['aggregate'],
  id: string,
  loaded: Loaded<unknown> | undefined,
  events: readonly NewEvent[],
  now: Date,
): Change<unknown> {
  const after = events.reduce((state: unknown, event) => aggregate.evolve(state, event), loaded?.state ?? null)
  const stored = events.map(({ type, data }) => ({ type, data, id: randomUUID() }))
  const version = loaded?.version ?? 0
  const growth = sizeOf(aggregate, after, version + events.length) - sizeOf(aggregate, loaded?.state ?? null, version)
  return { id, version, after, events: stored, time: now.toISOString(), growth }
}

function sizeOf({ render }: AnyCommand['aggregate'], state: unknown, version: number): number {
  return state === null ? 0 : Buffer.byteLength(render(state, version))
}

/** Reads a row of a save: undefined when the version that the change was decided on was no longer the present one. Throws what the aggregate says of one that was refused. */
export function readSaved({ route }: TenantContext, aggregate: AnyCommand['aggregate'], row: Row | undefined): Saved | undefined {
  const refusal = row?.refusal ?? undefined
  if (refusal === 'quota') throw quotaExceeded(aggregate.quota, route.limits?.[aggregate.quota], Number(row?.total))
  if (refusal === 'storage') throw storageFull(route.limits?.storageMiB)
  if (refusal !== undefined) throw aggregate.refusals?.[String(refusal)]?.() ?? new Error(`a ${aggregate.name} was refused by ${refusal}`)
  return row && { version: Number(row.version), position: Number(row.position) }
}

/** What a saved change has made known. */
export function committed({ id, events }: Change<unknown>, { position }: Saved): Committed[] {
  return events.map(({ type }, index) => ({ type, aggregateId: id, position: position - events.length + 1 + index }))
}

function storageFull(most: number | undefined): TenantryError {
  const message = `The tasks and users of this tenant take all of the ${most} MiB that they may. Delete some, or ask those who run it for a higher limit.`
  return new TenantryError('quota-exceeded', message, { retryAfter: ROOM_AFTER })
}

function quotaExceeded(quota: Quota, most: number | undefined, total: number): TenantryError {
  const message = `This tenant may have ${most} ${quota}, and has ${total}. Delete some, or ask those who run it for a higher limit.`
  return new TenantryError('quota-exceeded', message, { retryAfter: ROOM_AFTER })
}
