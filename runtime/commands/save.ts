import type { Limits, Quota } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import { lockHead, requireHead } from '../shards/head.ts'
import type { Session } from '../shards/session.ts'
import type { Row } from '../shards/statement.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { readSaved, type Saved } from './change.ts'
import type { AnyCommand, Change, Most } from './command.ts'

type AnyAggregate = AnyCommand['aggregate']
type Waiting = {
  tenant: TenantContext
  aggregate: AnyAggregate
  change: Change<unknown>
  signal: AbortSignal
  resolve: (saved: Saved | undefined) => void
  reject: (error: unknown) => void
}

const MOST_PER_COMMIT = 64
const MIB = 2 ** 20

/**
 * Writes changes. One bundle of a tenant is under way at a time; what comes meanwhile goes together in the next one, so
 * that a busy tenant shares commits and a quiet one never waits.
 */
export class Saver {
  readonly #session: Session
  readonly #waiting = new Map<string, Waiting[]>()

  constructor(session: Session) {
    this.#session = session
  }

  /**
   * Gives where the change stands, or undefined when the version it was decided on is no longer the present one. Throws what the aggregate says
   * of a change that was refused.
   */
  save(tenant: TenantContext, aggregate: AnyAggregate, change: Change<unknown>, signal: AbortSignal): Promise<Saved | undefined> {
    return new Promise((resolve, reject) => {
      const item = { tenant, aggregate, change, signal, resolve, reject }
      const waiting = this.#waiting.get(tenant.uid)
      if (waiting !== undefined) {
        waiting.push(item)
        return
      }
      this.#waiting.set(tenant.uid, [item])
      void this.#drain(tenant.uid)
    })
  }

  async #drain(uid: string): Promise<void> {
    const waiting = this.#waiting.get(uid) ?? []
    while (waiting.length > 0) {
      const batch = takeBatch(waiting)
      if (batch.length > 0) await this.#write(batch)
    }
    this.#waiting.delete(uid)
  }

  // Never rejects: each caller is told on its own.
  async #write(batch: readonly Waiting[]): Promise<void> {
    try {
      const rows = await this.#commit(batch)
      for (const item of batch) settle(item, rows.get(item.change.id))
    } catch (error) {
      // Postgres refused the whole for the sake of one: nothing has happened, and each is tried alone.
      const isRefused = error instanceof TenantryError && error.code === 'internal'
      if (batch.length > 1 && isRefused) for (const item of batch) await this.#write([item])
      else for (const item of batch) item.reject(error)
    }
  }

  async #commit(batch: readonly Waiting[]): Promise<Map<string, Row>> {
    const [first] = batch
    if (first === undefined) return new Map()
    const { tenant, aggregate } = first
    const { epoch, limits } = tenant.route
    const changes = batch.map((item) => item.change)
    const [head, rows = []] = await this.#session.bundle(tenant, [
      lockHead(tenant.uid, epoch),
      aggregate.save(tenant.uid, epoch, changes, mostOf(limits, aggregate.quota)),
    ])
    requireHead(head)
    return new Map(rows.map((row) => [String(row.id), row]))
  }
}

function mostOf(limits: Limits | undefined, quota: Quota): Most {
  const { storageMiB } = limits ?? {}
  return { rows: limits?.[quota] ?? null, bytes: storageMiB === undefined ? null : storageMiB * MIB }
}

function settle({ tenant, aggregate, resolve, reject }: Waiting, row: Row | undefined): void {
  try {
    resolve(readSaved(tenant, aggregate, row))
  } catch (error) {
    reject(error)
  }
}

// Those that fit into one statement: the same table, the same route, and each thing once. The others keep their order.
function takeBatch(waiting: Waiting[]): Waiting[] {
  const batch: Waiting[] = []
  const later: Waiting[] = []
  const ids = new Set<string>()
  for (const item of waiting.splice(0)) {
    if (item.signal.aborted) item.reject(item.signal.reason)
    else if (batch.length < MOST_PER_COMMIT && !ids.has(item.change.id) && fits(item, batch[0])) {
      batch.push(item)
      ids.add(item.change.id)
    } else later.push(item)
  }
  waiting.push(...later)
  return batch
}

function fits(item: Waiting, first: Waiting | undefined): boolean {
  return first === undefined || (item.aggregate === first.aggregate && item.tenant.route === first.tenant.route)
}
