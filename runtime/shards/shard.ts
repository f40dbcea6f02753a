import { channel } from 'node:diagnostics_channel'
import { type Breaker, createBreaker } from '../resilience/breaker.ts'
import type { Step } from './bundle.ts'
import { CheckoutPool, type Interactive } from './checkout.ts'
import type { Login, SessionSettings } from './endpoint.ts'
import { isAway } from './failure.ts'
import { PipelinedConnection } from './pipeline.ts'
import type { TakePlace } from './places.ts'
import type { Row } from './statement.ts'

/** Told on `tenantry:pool`: how many connections (or callers, for `waiting`) are in that state. */
export type PoolChange = { shard: string; state: 'pipelined' | 'idle' | 'busy' | 'waiting' | 'databases'; connections: number }

/** Where pools tell of their connections. */
export const changes = channel('tenantry:pool')
const FAILURES_IN_A_ROW = 3
const HALF_OPEN_AFTER = 1_000

/** The connections to one Shard under one login, behind the Shard's breaker. */
export class Shard {
  /** What the connections were made with. */
  login: Login
  readonly #name: string
  readonly #breaker: Breaker
  readonly #pipelined: readonly PipelinedConnection[]
  readonly #checkout: CheckoutPool

  constructor(name: string, login: Login, settings: SessionSettings, breaker: Breaker, take: TakePlace) {
    this.#name = name
    this.login = login
    this.#breaker = breaker
    this.#pipelined = Array.from({ length: settings.pipelined }, () => new PipelinedConnection(login, settings, take))
    this.#checkout = new CheckoutPool(login, settings, take)
  }

  /** Sends a bundle over the connection that `pin`, any whole number, stands for. */
  bundle(pin: number, steps: readonly Step[], signal?: AbortSignal): Promise<Row[][]> {
    const connection = this.#pipelined[pin % this.#pipelined.length]
    if (connection === undefined) throw new RangeError('a shard needs at least one pipelined connection')
    return this.#breaker.run(() => connection.send(steps, signal))
  }

  transaction<T>(begin: readonly Step[], work: Interactive<T>): Promise<T> {
    return this.#breaker.run(() => this.#checkout.transaction(begin, work))
  }

  /** How many server connections stand open. */
  get connections(): number {
    const { idle, busy } = this.#checkout.counts
    return idle + busy + this.#pipelined.filter((connection) => connection.isOpen).length
  }

  /** Says how the connections stand. */
  announce(): void {
    const { idle, busy, waiting } = this.#checkout.counts
    const pipelined = this.connections - idle - busy
    const announce = (state: PoolChange['state'], connections: number) =>
      changes.publish({ shard: this.#name, state, connections } satisfies PoolChange)
    announce('pipelined', pipelined)
    announce('idle', idle)
    announce('busy', busy)
    announce('waiting', waiting)
  }

  /** Waits for what is under way, then ends the connections. */
  async close(): Promise<void> {
    await Promise.all([...this.#pipelined.map((connection) => connection.close()), this.#checkout.close()])
  }
}

/** The breaker of a Shard; it outlives changes of endpoint and login. */
export function shardBreaker(name: string): Breaker {
  return createBreaker(`shard/${name}`, { failures: FAILURES_IN_A_ROW, halfOpenAfter: HALF_OPEN_AFTER, counts: isAway })
}
