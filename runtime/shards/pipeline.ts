import type { Client } from 'pg'
import { TenantryError } from '../errors.ts'
import { createDeadline, type WithDeadline } from '../resilience/deadline.ts'
import { type Step, sendBundle } from './bundle.ts'
import { PlacedClient } from './client.ts'
import { clientConfig, type Login, type SessionSettings } from './endpoint.ts'
import { Unreachable } from './failure.ts'
import type { TakePlace } from './places.ts'
import { PreparedStatements } from './prepared.ts'
import type { Row } from './statement.ts'

type Open = { client: Client; prepared: PreparedStatements }

/**
 * One shared connection: bundles of all callers go out as they come and are answered in order. It is opened by the first
 * bundle, and again by the next one after it was lost.
 */
export class PipelinedConnection {
  readonly #login: Login
  readonly #settings: SessionSettings
  readonly #take: TakePlace
  readonly #withDeadline: WithDeadline
  #open: Open | undefined
  #opening: Promise<Open> | undefined
  #waiting = 0
  #lastAnswer = 0
  #isClosed = false

  constructor(login: Login, settings: SessionSettings, take: TakePlace) {
    this.#login = login
    this.#settings = settings
    this.#take = take
    this.#withDeadline = createDeadline(settings.deadline, () => this.#dropIfSilent())
  }

  get isOpen(): boolean {
    return this.#open !== undefined
  }

  /** Sends the steps as one bundle. Throws `Unreachable`, `ConnectionLost`, `DeadlineExceeded`, what Postgres said, or `overloaded` when there is no place. */
  send(steps: readonly Step[], signal?: AbortSignal): Promise<Row[][]> {
    return this.#withDeadline(() => this.#send(steps), signal)
  }

  async #send(steps: readonly Step[]): Promise<Row[][]> {
    const { client, prepared } = this.#open ?? (await this.#connect())
    if (this.#waiting === 0) this.#lastAnswer = Date.now()
    this.#waiting += 1
    try {
      return await sendBundle(client, prepared, steps)
    } finally {
      this.#waiting -= 1
      this.#lastAnswer = Date.now()
    }
  }

  /** Ends the connection when the last answer is in. */
  async close(): Promise<void> {
    this.#isClosed = true
    const open = this.#open ?? (await this.#opening?.catch(() => undefined))
    await open?.client.end()
  }

  // It has answered nobody for so long: the server is gone without a word, or stuck.
  #dropIfSilent(): void {
    if (this.#waiting > 0 && Date.now() - this.#lastAnswer >= this.#settings.deadline) this.#open?.client.connection.stream.destroy()
  }

  #connect(): Promise<Open> {
    this.#opening ??= this.#establish().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #establish(): Promise<Open> {
    const client = new PlacedClient({ ...clientConfig(this.#login, this.#settings), pipeline: true }, this.#take, this.#settings.deadline)
    const open = { client, prepared: new PreparedStatements(this.#settings.prepared) }
    const lost = () => {
      if (this.#open === open) this.#open = undefined
    }
    client.on('error', lost)
    client.on('end', lost)
    // Opened by somebody who came too late for the end.
    if (this.#isClosed) client.once('drain', () => client.end())
    try {
      await client.connect()
    } catch (error) {
      throw error instanceof TenantryError ? error : new Unreachable(error)
    }
    this.#open = open
    return open
  }
}
