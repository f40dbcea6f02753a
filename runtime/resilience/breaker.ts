import { channel } from 'node:diagnostics_channel'
import { CircuitState, ConsecutiveBreaker, circuitBreaker, ExponentialBackoff, handleWhen, isBrokenCircuitError } from 'cockatiel'

/** 0 closed, 1 half-open, 2 open: the value of `tenantry_breaker_state`. */
export type BreakerState = 0 | 1 | 2

/** Told on `tenantry:breaker` whenever a breaker changes, and once when it is made. */
export type BreakerChange = { dependency: string; state: BreakerState }

export type BreakerOptions = {
  /** So many counted failures in a row open it. */
  failures: number
  /** Milliseconds until the first probe; doubles up to eight times that while probes fail. */
  halfOpenAfter: number
  /** Which errors say that the dependency is away. Everything else proves that it answers. */
  counts: (error: unknown) => boolean
}

/** Keeps work away from a dependency that is down. */
export type Breaker = {
  /** Does the work, or throws `DependencyDown` at once while the breaker is open or another caller's probe is under way. */
  run: <T>(work: () => Promise<T>) => Promise<T>
  state: () => BreakerState
}

/** The breaker is open: nothing was tried. */
export class DependencyDown extends Error {
  readonly dependency: string
  /** Seconds. */
  readonly retryAfter: number

  constructor(dependency: string, retryAfter: number, cause?: unknown) {
    super(`${dependency} is down`, { cause })
    this.name = 'DependencyDown'
    this.dependency = dependency
    this.retryAfter = retryAfter
  }
}

const changes = channel('tenantry:breaker')

/** A breaker for one dependency, such as `shard/shard-a` or `redis`. */
export function createBreaker(dependency: string, options: BreakerOptions): Breaker {
  const inARow = new ConsecutiveBreaker(options.failures)
  const policy = circuitBreaker(handleWhen(options.counts), {
    halfOpenAfter: new ExponentialBackoff({ initialDelay: options.halfOpenAfter, maxDelay: options.halfOpenAfter * 8 }),
    breaker: inARow,
  })
  const retryAfter = Math.max(1, Math.ceil(options.halfOpenAfter / 1000))
  const state = (): BreakerState => stateOf(policy.state)
  const announce = () => changes.publish({ dependency, state: state() } satisfies BreakerChange)
  policy.onStateChange(announce)
  announce()
  const probe = async <T>(work: () => Promise<T>): Promise<T> => {
    // Cockatiel lets the others wait for the probe; a caller is better served by an answer now.
    if (policy.state === CircuitState.HalfOpen) throw new DependencyDown(dependency, retryAfter)
    const result = await policy
      .execute(() => settle(work, options.counts))
      .catch((error: unknown) => {
        throw isBrokenCircuitError(error) ? new DependencyDown(dependency, retryAfter, error) : error
      })
    if ('error' in result) throw result.error
    return result.value
  }
  return {
    state,
    run: async (work) => {
      if (policy.state !== CircuitState.Closed) return probe(work)
      // While all is well cockatiel hears of failures only: each success that went through it would wait four turns more.
      try {
        const value = await work()
        inARow.success()
        return value
      } catch (error) {
        if (!options.counts(error)) inARow.success()
        else if (policy.state === CircuitState.Closed) await policy.execute(() => Promise.reject(error))
        throw error
      }
    },
  }
}

// To cockatiel an error that does not count is neither failure nor success; here it is a success, since somebody answered.
async function settle<T>(work: () => Promise<T>, counts: BreakerOptions['counts']): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await work() }
  } catch (error) {
    if (counts(error)) throw error
    return { error }
  }
}

function stateOf(state: CircuitState): BreakerState {
  if (state === CircuitState.Closed) return 0
  return state === CircuitState.HalfOpen ? 1 : 2
}
