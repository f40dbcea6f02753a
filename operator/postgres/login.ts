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
  return loginSettings(limits).every(([setting, value]) => isSet(found, setting, value))
}

function isSet(found: readonly string[], setting: string, value: string): boolean {
  const own = found.filter((one) => one.startsWith(`${setting}=`))
  // An empty list is kept as one empty name.
  return own.length === 1 && own[0] === `${setting}=${value === '' ? '""' : value}`
}

/** One of the two logins of a tenant's own database: whether the runtime is told to use it, and what is set for it, as `name=value`. Without a limit of connections -1. */
export type OwnLogin = { name: string; inUse: boolean; canLogin: boolean; connections: number; settings: readonly string[] }

/** The logins that have to be as they should: the one in use, and the other as long as it is let in. */
export function openLogins(logins: readonly OwnLogin[]): OwnLogin[] {
  return logins.filter(({ inUse, canLogin }) => inUse || canLogin)
}

/** What each of so many logins may take of what their tenant may. */
export function sharedBy(logins: number, limits: LoginLimits): LoginLimits {
  return { ...limits, connections: Math.floor(limits.connections / Math.max(logins, 1)) }
}

/** Whether the logins that are let in hold a tenant to its limits together, and act as its role from their first statement on. */
export function areHeld(logins: readonly OwnLogin[], role: string, limits: LoginLimits): boolean {
  const open = openLogins(logins)
  const share = sharedBy(open.length, limits)
  return open.every(({ name, connections, settings }) => {
    const acts = name === role || isSet(settings, 'role', role)
    return acts && connections === share.connections && hasLoginSettings(settings, share)
  })
}
