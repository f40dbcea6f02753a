import type { Limits } from '../../config/routing.ts'
import type { TenantContext } from '../tenancy/context.ts'
import { Lease, type Rate, type SharedBucket } from './lease.ts'
import { Shares } from './shares.ts'

/** Whether a request may go on, what the tenant may do, and what is left of it. */
export type Admission = {
  refused?: 'rate' | 'share' | 'concurrency'
  /** Left out: there is no such limit. */
  rate?: Rate
  remaining: number
  /** Seconds. */
  retryAfter: number
  /** To be called once, when what was admitted is over; none of what was refused. */
  leave?: () => void
}

/** Holds tenants to their limits of requests. */
export type Limiter = { enter: (tenant: Pick<TenantContext, 'uid' | 'route' | 'caller'>) => Admission | Promise<Admission> }

/** So many tenants are remembered; those at rest are then forgotten, and begin with what the shared bucket has. */
const REMEMBERED = 10_000

const FREE: Admission = { remaining: 0, retryAfter: 0 }

/**
 * One limit for each tenant, whoever of its callers asks, shared by all replicas; without a shared bucket each replica has its own. Of what may
 * be under way at once each replica that serves the tenant has its part. `now` in milliseconds.
 */
export function createLimiter(shared: SharedBucket | undefined, now: () => number = () => performance.now()): Limiter {
  const gates = new Map<string, Gate>()
  return {
    enter: ({ uid, route: { limits }, caller }) => {
      if (limits?.requestsPerSecond === undefined && limits?.concurrency === undefined) return FREE
      const gate = gates.get(uid) ?? new Gate(uid, shared, rateOf(limits), now)
      if (gates.size >= REMEMBERED) for (const [key, { isIdle }] of gates) if (isIdle) gates.delete(key)
      gates.set(uid, gate)
      return gate.enter(limits, caller)
    },
  }
}

/** What one tenant does on this replica. */
class Gate {
  readonly #lease: Lease
  readonly #shares: Shares
  readonly #leave = () => {
    this.#running -= 1
  }
  #running = 0

  constructor(uid: string, shared: SharedBucket | undefined, rate: Rate | undefined, now: () => number) {
    this.#lease = new Lease(uid, shared, rate ?? UNLIMITED, now)
    this.#shares = new Shares(now)
  }

  get isIdle(): boolean {
    return this.#running === 0
  }

  enter(limits: Limits, caller: string): Admission | Promise<Admission> {
    const rate = rateOf(limits)
    const { concurrency = Number.POSITIVE_INFINITY } = limits
    this.#running += 1
    if (this.#running > Math.ceil(concurrency / this.#lease.replicas)) return this.#refuse(rate, 'concurrency')
    if (rate === undefined) return { ...FREE, leave: this.#leave }
    if (!this.#shares.allows(caller, this.#lease.remaining() / rate.burst)) return this.#refuse(rate, 'share')
    const taken = this.#lease.take(rate)
    return typeof taken === 'boolean' ? this.#judge(taken, rate, caller) : taken.then((isTaken) => this.#judge(isTaken, rate, caller))
  }

  #judge(taken: boolean, rate: Rate, caller: string): Admission {
    if (!taken) return this.#refuse(rate, 'rate')
    this.#shares.count(caller)
    return { rate, remaining: this.#lease.remaining(), retryAfter: 0, leave: this.#leave }
  }

  #refuse(rate: Rate | undefined, refused: NonNullable<Admission['refused']>): Admission {
    this.#running -= 1
    const remaining = refused === 'rate' ? 0 : this.#lease.remaining()
    const retryAfter = Math.max(1, Math.ceil(this.#lease.pause() / 1_000))
    return { refused, ...(rate === undefined ? {} : { rate }), remaining, retryAfter }
  }
}

const UNLIMITED: Rate = { perSecond: Number.MAX_SAFE_INTEGER, burst: Number.MAX_SAFE_INTEGER }

function rateOf({ requestsPerSecond: perSecond, burst }: Limits): Rate | undefined {
  return perSecond === undefined ? undefined : { perSecond, burst: burst ?? 2 * perSecond }
}
