import type { Limits } from '../../config/routing.ts'

/** What a login may take of the server: connections at once, and times in milliseconds. */
export type LoginLimits = Limits & { connections: number }

/** The times of the runtime's own login, which all tenants with rows or a schema share: the runtime sets each one's own for the transaction. */
export const SHARED_LIMITS: Limits = { statementMs: 30_000, lockMs: 10_000, idleInTransactionMs: 30_000 }

// Settings of a role count for a login only, never for a role that is taken with SET ROLE: so they stand on what the runtime logs in with.
// An empty search_path: whatever a tenant could plant in a schema is never found by an unqualified name (CVE-2018-1058).
// One plan for each prepared statement: to plan a command anew for its values costs a fifth of its time. No sequential scans: the plan
// is made while a tenant's table is small enough to be read whole, and would be kept while it grows. Every statement of the runtime
// has an index to go by; where none fits, it still scans.
const FIXED = { search_path: '', plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off' }

/** The settings that a login of the runtime's has, whatever it asks for, by their names. */
export function loginSettings({ statementMs, lockMs, idleInTransactionMs }: Limits): [setting: string, value: string][] {
  return Object.entries({
    ...FIXED,
    statement_timeout: `${statementMs}ms`,
    lock_timeout: `${lockMs}ms`,
    idle_in_transaction_session_timeout: `${idleInTransactionMs}ms`,
  })
}

/** Whether settings as the catalog has them, `name=value`, hold these and none of the names twice. Others beside them are not looked at. */
export function hasLoginSettings(found: readonly string[], limits: Limits): boolean {
  return loginSettings(limits).every(([setting, value]) => {
    const own = found.filter((one) => one.startsWith(`${setting}=`))
    // An empty list is kept as one empty name.
    return own.length === 1 && own[0] === `${setting}=${value === '' ? '""' : value}`
  })
}
