import type { Limits } from '../../config/routing.ts'
import type { Plan, TenantSpec } from '../../crds/tenant.ts'
import type { LoginLimits } from '../postgres/login.ts'

/** The limits that a route has, none of them left out. */
export type RouteLimits = { [Name in keyof Limits]-?: NonNullable<Limits[Name]> }

/** What a Tenant may take: of the server, by its own login if it has one, and of the runtime. */
export type TenantLimits = LoginLimits & RouteLimits

/** What each plan gives. No time is longer than the runtime's own, which would hold first, and each is long enough for the relay's wait for NATS. */
export const PLANS: Readonly<Record<Plan, Omit<TenantLimits, 'burst'>>> = {
  free: {
    connections: 20,
    statementMs: 2_000,
    lockMs: 1_000,
    idleInTransactionMs: 6_000,
    requestsPerSecond: 100,
    concurrency: 20,
    tasks: 10_000,
    users: 100,
    storageMiB: 100,
  },
  basic: {
    connections: 30,
    statementMs: 3_000,
    lockMs: 2_000,
    idleInTransactionMs: 8_000,
    requestsPerSecond: 500,
    concurrency: 50,
    tasks: 100_000,
    users: 1_000,
    storageMiB: 1_000,
  },
  premium: {
    connections: 40,
    statementMs: 4_000,
    lockMs: 4_000,
    idleInTransactionMs: 10_000,
    requestsPerSecond: 2_000,
    concurrency: 200,
    tasks: 1_000_000,
    users: 10_000,
    storageMiB: 10_000,
  },
}

/** The limits of a Tenant: those of its plan, where it does not set its own. What two seconds allow may come at once, unless it says otherwise. */
export function limitsOf({ plan, limits }: Pick<TenantSpec, 'plan' | 'limits'>): TenantLimits {
  const all = { ...PLANS[plan], ...limits }
  return { ...all, burst: all.burst ?? 2 * all.requestsPerSecond }
}

/** The part of them that the runtime holds a tenant to. */
export function routeLimits(spec: Pick<TenantSpec, 'plan' | 'limits'>): RouteLimits {
  const { connections: _connections, ...limits } = limitsOf(spec)
  return limits
}
