import { Client, type ClientConfig } from 'pg'
import type { TakePlace } from './places.ts'

type Done = ((error: Error) => void) | ((error: null, client: Client) => void)

/** A client that connects when it has a place, which is free again when the server has ended the connection. */
export class PlacedClient extends Client {
  readonly #take: TakePlace

  constructor(config: ClientConfig, take: TakePlace) {
    super(config)
    this.#take = take
  }

  override connect(): Promise<Client>
  override connect(done: Done): void
  // A pool calls back, and takes what it is given first for an error.
  override connect(done?: Done): Promise<Client> | undefined {
    const entered = this.#enter()
    if (done === undefined) return entered
    const tell = done as (error?: unknown) => void
    entered.then(() => tell(), tell)
    return undefined
  }

  async #enter(): Promise<Client> {
    const leave = await this.#take()
    this.once('end', leave)
    try {
      return await super.connect()
    } catch (error) {
      leave()
      throw error
    }
  }
}
