import { Client, type ClientConfig } from 'pg'
import type { TakePlace } from './places.ts'

type Done = ((error: Error) => void) | ((error: null, client: Client) => void)

/** A client that connects when it has a place, which is free again when the server has ended the connection. */
export class PlacedClient extends Client {
  readonly #take: TakePlace
  readonly #patience: number

  /** `patience`: how long the server may take to end the connection before it is hung up on, in milliseconds. */
  constructor(config: ClientConfig, take: TakePlace, patience: number) {
    super(config)
    this.#take = take
    this.#patience = patience
  }

  override connect(): Promise<Client>
  override connect(done: Done): void
  override connect(done?: Done): Promise<Client> | undefined {
    if (done === undefined) return new Promise((resolve, reject) => this.#enter((error) => (error ? reject(error) : resolve(this))))
    // A pool takes what it is given first for an error, and from then on hears of the connection's own.
    this.#enter(done as (error?: unknown) => void)
    return undefined
  }

  override end(): Promise<void>
  override end(done: (error: Error) => void): void
  override end(done?: (error: Error) => void): Promise<void> | undefined {
    // A server that is gone without a word answers no farewell, and would keep the place for as long as TCP hopes.
    const timer = setTimeout(() => this.connection.stream.destroy(), this.#patience).unref()
    this.once('end', () => clearTimeout(timer))
    if (done === undefined) return super.end()
    super.end(done)
    return undefined
  }

  #enter(done: (error?: unknown) => void): void {
    this.#take().then((leave) => {
      this.once('end', leave)
      super.connect((error: Error) => {
        if (error) leave()
        done(error)
      })
    }, done)
  }
}
