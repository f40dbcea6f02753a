import { setTimeout as sleep } from 'node:timers/promises'
import { v7 as uuidv7 } from 'uuid'
import type { Log } from '../../config/log.ts'
import { SCOPES } from '../../config/routing.ts'
import type { CommandBus } from '../commands/bus.ts'
import { TenantryError } from '../errors.ts'
import type { Session, Tenant } from '../shards/session.ts'
import type { Row } from '../shards/statement.ts'
import { isSuspended } from '../tenancy/identify.ts'
import { claimSweep, type Retention, retentionsOf } from './retention.ts'

export type SweepOptions = {
  session: Pick<Session, 'bundle' | 'read' | 'transaction'>
  commands: CommandBus
  retentions: readonly Retention[]
  tenants: () => Iterable<Tenant>
  log: Log
  /** Milliseconds between two looks at who is due. */
  lookEvery?: number
  /** Seconds between two sweeps of a tenant. */
  sweepEvery?: number
}

type RemoveCommand = Extract<Retention, { command: unknown }>

/** So many rows that nobody follows go in one statement. */
const LINES = 1_000

/** So many go in one transaction that keeps something of them. */
const FOLDED = 500

/** So many go at once, and share a commit: other commands of the tenant get in between. */
const BATCH = 64

/**
 * Removes what tenants' settings no longer keep: what has events by the commands that everybody uses, so that read models and caches follow,
 * and the audit log says it was `retention`; the rest by statements and transactions of its own. Any number of replicas may do so; each tenant
 * is swept by one at a time, tenants without such a setting by none. Gives what ends it.
 */
export function sweepTenants({ session, commands, retentions, tenants, log, lookEvery = 60_000, sweepEvery = 3_600 }: SweepOptions) {
  const stopped = new AbortController()
  const { signal } = stopped
  const told = new Set<string>()

  async function sweep(tenant: Tenant): Promise<void> {
    const { due, wrong } = retentionsOf(retentions, tenant.route.settings)
    for (const setting of wrong) warn(tenant, setting)
    if (due.length === 0) return
    const [claimed] = await session.bundle(tenant, [claimSweep(tenant.uid, sweepEvery)], signal)
    if (claimed?.length !== 1) return
    for (const { retention, days } of due) {
      const removed = await removeAll(tenant, retention, days)
      if (removed > 0) log.info({ tenant: tenant.uid, setting: retention.setting, removed }, 'what the settings no longer keep was removed')
    }
  }

  function removeAll(tenant: Tenant, retention: Retention, days: number): Promise<number> {
    const { uid } = tenant
    if ('command' in retention) return removeByCommand(tenant, retention, days)
    if ('removeIn' in retention) {
      return repeat(FOLDED, () => session.transaction(tenant, (...transaction) => retention.removeIn(transaction, uid, days, FOLDED)))
    }
    return repeat(LINES, async () => {
      const [rows = []] = await session.bundle(tenant, [retention.remove(uid, days, LINES)], signal)
      return rows.length
    })
  }

  /** Until there are fewer than may go at once. */
  async function repeat(most: number, remove: () => Promise<number>): Promise<number> {
    let removed = 0
    for (;;) {
      signal.throwIfAborted()
      const count = await remove()
      removed += count
      if (count < most) return removed
    }
  }

  async function removeByCommand(tenant: Tenant, { find, command }: RemoveCommand, days: number): Promise<number> {
    let removed = 0
    for (;;) {
      const rows = await session.read(tenant, find(tenant.uid, days, BATCH), signal)
      const outcomes = await Promise.all(rows.map((row) => remove(tenant, command, row)))
      removed += outcomes.filter(Boolean).length
      if (rows.length < BATCH || !outcomes.includes(true)) return removed
    }
  }

  /** False: it has changed since it was found, and is to be kept now, or looked at again. */
  async function remove({ uid, route }: Tenant, command: string, { id, version }: Row): Promise<boolean> {
    const context = { id: route.id, uid, route, caller: 'retention', scopes: new Set(SCOPES), requestId: uuidv7() }
    try {
      await commands.execute(context, command, { id }, { signal, accepts: (present) => present === version })
      return true
    } catch (error) {
      if (error instanceof TenantryError && ['not-found', 'precondition-failed', 'conflict'].includes(error.code)) return false
      throw error
    }
  }

  function warn({ uid, route }: Tenant, setting: string): void {
    const key = `${uid} ${JSON.stringify(route.settings?.[setting])}`
    if (!told.has(key)) log.warn({ tenant: uid, setting }, 'the setting is no whole number of days from 1 to 36500: everything is kept')
    told.add(key)
  }

  async function lookForever(): Promise<void> {
    while (!signal.aborted) {
      for (const tenant of tenants()) {
        if (signal.aborted || isSuspended(tenant.route, Date.now())) continue
        await sweep(tenant).catch((error: unknown) => {
          if (!signal.aborted) log.warn({ tenant: tenant.uid, error }, 'a tenant could not be swept')
        })
      }
      await sleep(lookEvery, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  const looking = lookForever()
  return async () => {
    stopped.abort()
    await looking
  }
}
