import { z } from 'zod'
import type { AtEnd, Run } from '../shards/session.ts'
import type { Statement } from '../shards/statement.ts'

/** Something that a tenant's settings may keep for some days only. */
export type Retention = {
  /** The key in the settings that gives the days; where it is not set, everything is kept. */
  setting: string
} & (ByCommand | ByStatement | ByTransaction)

/** For what has events, which others follow. */
type ByCommand = {
  /** Rows `{id, version}` of what is over for longer than so many days, the oldest first, at most so many. */
  find: (tenantUid: string, days: number, limit: number) => Statement
  /** The command that removes one, given its `id`. */
  command: string
}

/** For what nobody follows. */
type ByStatement = {
  /** Removes what is older than so many days, the oldest first, at most so many; a row for each. */
  remove: (tenantUid: string, days: number, limit: number) => Statement
}

/** For what something else is kept of. */
type ByTransaction = {
  /** Removes what is older than so many days in a transaction, the oldest first, at most so many; gives how many. */
  removeIn: (transaction: [Run, AtEnd], tenantUid: string, days: number, limit: number) => Promise<number>
}

const days = z.int().min(1).max(36_500)

/** What of a tenant's settings asks for sweeping, and which of them say something else than a whole number of days from 1 to 36,500. */
export function retentionsOf(retentions: readonly Retention[], settings: Readonly<Record<string, unknown>> = {}) {
  const asked = retentions.filter(({ setting }) => settings[setting] !== undefined)
  const read = asked.map((retention) => ({ retention, days: days.safeParse(settings[retention.setting]).data }))
  return {
    due: read.flatMap(({ retention, days }) => (days === undefined ? [] : [{ retention, days }])),
    wrong: read.flatMap(({ retention, days }) => (days === undefined ? [retention.setting] : [])),
  }
}

/** Takes the sweep of a tenant for the next so many seconds: a row, or none while another replica has it. */
export function claimSweep(tenantUid: string, seconds: number): Statement {
  return {
    name: 'sweep.claim',
    text: (schema) => `
      INSERT INTO ${schema}sweeps AS last (tenant_id, swept_at) VALUES ($1, now())
      ON CONFLICT (tenant_id) DO UPDATE SET swept_at = excluded.swept_at WHERE last.swept_at < now() - make_interval(secs => $2::int)
      RETURNING tenant_id`,
    values: [tenantUid, seconds],
  }
}
