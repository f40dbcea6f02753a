import { Pool, type PoolClient } from 'pg'
import { TenantryError } from '../errors.ts'
import { createDeadline, type WithDeadline } from '../resilience/deadline.ts'
import { type Step, sendBundle } from './bundle.ts'
import { PlacedClient } from './client.ts'
import { clientConfig, type Login, type SessionSettings } from './endpoint.ts'
import { ConnectionLost, isRefusal, Unreachable } from './failure.ts'
import type { TakePlace } from './places.ts'
import { PreparedStatements } from './prepared.ts'
import type { Row } from './statement.ts'

/** Sends steps inside the transaction. */
type Send = (steps: readonly Step[]) => Promise<Row[][]>

/** What is done in a transaction; the steps given to `atEnd` go out together with the COMMIT. */
export type Interactive<T> = (send: Send, atEnd: (...steps: Step[]) => void) => Promise<T>

const COMMIT: Step = { key: 'commit', text: () => 'COMMIT', values: [] }

/** A few connections for transactions that think between their statements. */
export class CheckoutPool {
  readonly #pool: Pool
  readonly #settings: SessionSettings
  readonly #withDeadline: WithDeadline
  readonly #prepared = new WeakMap<PoolClient, PreparedStatements>()
  readonly #running = new Set<Promise<unknown>>()

  constructor(login: Login, settings: SessionSettings, take: TakePlace) {
    this.#settings = settings
    this.#withDeadline = createDeadline(settings.deadline)
    const config = clientConfig(login, settings)
    class PooledClient extends PlacedClient {
      constructor() {
        super(config, take, settings.deadline)
      }
    }
    // One that is made waits for its place first, and then as long as any other for the server.
    const patience = settings.connectTimeout * 2
    this.#pool = new Pool({ ...config, max: settings.interactive, connectionTimeoutMillis: patience, Client: PooledClient })
    // A connection that breaks while idle is already out of the pool.
    this.#pool.on('error', () => undefined)
  }

  get counts(): { idle: number; busy: number; waiting: number } {
    const { totalCount, idleCount, waitingCount } = this.#pool
    return { idle: idleCount, busy: totalCount - idleCount, waiting: waitingCount }
  }

  /**
   * Runs `work` in a transaction that `begin` opens, sent along with the first steps, and commits. After any error the connection is destroyed: one whose
   * state is in doubt never serves anybody else.
   */
  async transaction<T>(begin: readonly Step[], work: Interactive<T>): Promise<T> {
    const running = this.#transact(begin, work)
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /** Ends the connections when what is under way, or waits for one of them, is done. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#running)
    await this.#pool.end()
  }

  async #transact<T>(begin: readonly Step[], work: Interactive<T>): Promise<T> {
    const client = await this.#checkOut()
    const lost = new AbortController()
    const onError = (error: Error) => lost.abort(new ConnectionLost(error))
    client.on('error', onError)
    let failure: unknown = new ConnectionLost('the transaction did not end')
    try {
      const result = await this.#run(client, begin, work, lost.signal)
      failure = undefined
      return result
    } catch (error) {
      failure = error
      throw error
    } finally {
      client.release(failure === undefined ? undefined : true)
      client.removeListener('error', onError)
    }
  }

  async #run<T>(client: PoolClient, begin: readonly Step[], work: Interactive<T>, lost: AbortSignal): Promise<T> {
    const prepared = this.#preparedOf(client)
    let opening = begin
    const ending: Step[] = []
    let over = false
    const send: Send = async (steps) => {
      if (over) throw new Error('the transaction is over')
      const before = opening
      opening = []
      const rows = await this.#withDeadline(() => sendBundle(client, prepared, [...before, ...steps]), lost)
      return rows.slice(before.length)
    }
    try {
      const result = await work(send, (...steps) => ending.push(...steps))
      await send([...ending, COMMIT])
      return result
    } finally {
      over = true
    }
  }

  async #checkOut(): Promise<PoolClient> {
    const isFull = this.#pool.totalCount >= this.#settings.interactive && this.#pool.idleCount === 0
    try {
      return await this.#pool.connect()
    } catch (error) {
      if (error instanceof TenantryError) throw error
      if (isFull && !isRefusal(error)) throw new TenantryError('overloaded', 'Too much is going on.', { retryAfter: 1, cause: error })
      throw new Unreachable(error)
    }
  }

  #preparedOf(client: PoolClient): PreparedStatements {
    const known = this.#prepared.get(client)
    if (known !== undefined) return known
    const prepared = new PreparedStatements(this.#settings.prepared)
    this.#prepared.set(client, prepared)
    return prepared
  }
}
