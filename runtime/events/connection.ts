import { setTimeout } from 'node:timers/promises'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { Log } from '../../config/log.ts'

/** NATS is not there at the moment. */
export class NatsAway extends Error {
  constructor() {
    super('NATS is not connected')
    this.name = 'NatsAway'
  }
}

const CONNECT_TIMEOUT = 2_000
const RETRY_WAIT = 250

/** A connection to NATS that is made in the background and kept for ever. NATS may be away at first and at any time after. */
export class Connection {
  readonly #url: string
  readonly #log: Log
  readonly #stopped = new AbortController()
  readonly #ready = Promise.withResolvers<NatsConnection>()
  readonly #listeners = new Set<() => void>()
  readonly #running = new Set<Promise<void>>()
  #connection: NatsConnection | undefined
  #isUp = false

  constructor(url: string, log: Log) {
    this.#url = url
    this.#log = log
    this.#ready.promise.catch(() => undefined)
    this.background('connect to NATS', () => this.#establish())
  }

  /** The connection while it is up. */
  get present(): NatsConnection | undefined {
    return this.#isUp ? this.#connection : undefined
  }

  /** Aborts when the connection is to be closed. */
  get stopped(): AbortSignal {
    return this.#stopped.signal
  }

  /** Resolves when NATS was reached for the first time; throws `NatsAway` when it is closed before. */
  ready(): Promise<NatsConnection> {
    return this.#ready.promise
  }

  /** Calls `listener` each time the connection comes up. */
  whenUp(listener: () => void): void {
    this.#listeners.add(listener)
  }

  /** Does something beside that must not end the process; what goes wrong is logged, and `close` waits for the end. */
  background(name: string, work: () => Promise<void>): void {
    const running = work()
      .catch((error: unknown) => {
        if (!this.stopped.aborted) this.#log.warn({ error }, `cannot ${name}`)
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** Waits so many milliseconds, less when it is closed. */
  async pause(milliseconds: number): Promise<void> {
    await setTimeout(milliseconds, undefined, { signal: this.stopped }).catch(() => undefined)
  }

  /** Sends what is under way and ends the connection. */
  async close(): Promise<void> {
    this.#stopped.abort()
    this.#ready.reject(new NatsAway())
    await this.#connection?.close()
    await Promise.all(this.#running)
  }

  async #establish(): Promise<void> {
    while (!this.stopped.aborted) {
      try {
        const connection = await connect({
          servers: this.#url,
          name: 'tenantry-runtime',
          timeout: CONNECT_TIMEOUT,
          maxReconnectAttempts: -1,
          reconnectTimeWait: RETRY_WAIT,
          pingInterval: 5_000,
          maxPingOut: 2,
          // A trace of who asked costs two stacks for each event that is published.
          noAsyncTraces: true,
        })
        return await this.#keep(connection)
      } catch (error) {
        this.#log.debug({ error }, 'NATS is not there yet')
        await this.pause(RETRY_WAIT)
      }
    }
  }

  async #keep(connection: NatsConnection): Promise<void> {
    if (this.stopped.aborted) return connection.close()
    this.#connection = connection
    this.background('watch NATS', () => this.#watch(connection))
    this.#ready.resolve(connection)
    this.#up()
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') this.#isUp = false
      if (type === 'reconnect') this.#up()
    }
    this.#isUp = false
  }

  #up(): void {
    this.#isUp = true
    this.#log.info({}, 'NATS is connected')
    for (const listener of this.#listeners) listener()
  }
}
