import type { OperatorError } from '../errors.ts'
import { Rounds } from '../loop/rounds.ts'
import { type Access, type Database, DEFAULT_LIMITS, type Limits, openDatabase } from './connect.ts'
import { isOutage } from './failure.ts'

type Entry = {
  key: string
  access: Access
  database: Database
  down: OperatorError | undefined
  runtime: { key: string; database: Database } | undefined
  looks: Rounds
}

/** A login other than the admin's. */
type Login = { username: string; password: string }

/** Connections with the runtime's login to each Shard, to try what it can reach. */
export const PROBES = 2

/**
 * The way from Tenants to the Shards' databases: a small pool for each Shard, opened by the Shard's pass. When one statement finds the
 * Shard out of reach, all others are refused at once until a pass of the Shard has found it well again: passes of Tenants never wait, one
 * after the other, for the same dead server.
 */
export class Connections {
  readonly #entries = new Map<string, Entry>()
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #limits: Limits
  readonly #onDown: (shard: string) => void
  readonly #onUp: (shard: string) => void

  /** `onDown`: a Tenant's statement found the Shard out of reach. `onUp`: Tenants that wait for the Shard may go on. */
  constructor(options: { limits?: Limits; onDown: (shard: string) => void; onUp: (shard: string) => void }) {
    this.#limits = options.limits ?? DEFAULT_LIMITS
    this.#onDown = options.onDown
    this.#onUp = options.onUp
  }

  /** Opens the Shard for Tenants, or opens it again after an outage; another access replaces the pool. */
  async up(shard: string, access: Access): Promise<void> {
    const key = JSON.stringify(access)
    const before = this.#entries.get(shard)
    if (before?.key === key && before.down === undefined) return
    if (before?.key === key) before.down = undefined
    else {
      const database = openDatabase(access, this.#limits)
      this.#entries.set(shard, { key, access, database, down: undefined, runtime: undefined, looks: new Rounds() })
    }
    this.#onUp(shard)
    if (before !== undefined && before.key !== key) await closeEntry(before)
  }

  /** Refuses all statements to the Shard, with this error, until it is `up`. */
  down(shard: string, error: OperatorError): void {
    const entry = this.#entries.get(shard)
    if (entry !== undefined) entry.down = error
  }

  /** Closes the pool of a Shard that is no more. */
  async forget(shard: string): Promise<void> {
    const entry = this.#entries.get(shard)
    this.#entries.delete(shard)
    if (entry !== undefined) await closeEntry(entry)
  }

  /** The Shard's database for a Tenant's pass; undefined until the Shard's own pass has found it well once in this process. */
  database(shard: string): Pick<Database, 'query' | 'run' | 'lastRows'> | undefined {
    const entry = this.#entries.get(shard)
    if (entry === undefined) return undefined
    return {
      query: (text, values) => this.#guard(shard, entry, () => entry.database.query(text, values)),
      run: (text) => this.#guard(shard, entry, () => entry.database.run(text)),
      lastRows: (text) => this.#guard(shard, entry, () => entry.database.lastRows(text)),
    }
  }

  /**
   * Does `work` over a connection of its own to another database of the Shard: a tenant's, or the Shard's once more for what takes long and
   * would keep others from theirs.
   */
  async apart<T>(shard: string, database: string, work: (connection: Database) => Promise<T>, login?: Login): Promise<T> {
    const entry = this.#entryOf(shard)
    const connection = openDatabase({ ...entry.access, ...login, database }, { ...this.#limits, connections: 1 })
    try {
      return await this.#guard(shard, entry, () => work(connection))
    } finally {
      await connection.close()
    }
  }

  /** Does `work` as the runtime does, over a connection with its login to the Shard's database, which is kept. */
  async asRuntime<T>(shard: string, login: Login, work: (connection: Database) => Promise<T>): Promise<T> {
    const entry = this.#entryOf(shard)
    const key = JSON.stringify(login)
    if (entry.runtime?.key !== key) {
      const before = entry.runtime
      entry.runtime = { key, database: openDatabase({ ...entry.access, ...login }, { ...this.#limits, connections: PROBES }) }
      await before?.database.close()
    }
    const { database } = entry.runtime
    return this.#guard(shard, entry, () => work(database))
  }

  /** Looks at the Shard once for all who ask before the look begins; each gives what it is about. */
  async shareLook<T>(shard: string, look: (about: readonly string[]) => Promise<T>, about: string): Promise<T> {
    return this.#entryOf(shard).looks.share(shard, look, about)
  }

  /**
   * Does `work` on something that passes share, named by `key`, after all that was begun on it before: of two passes that found the same
   * fault, the second looks again and finds it mended.
   */
  inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(work)
    this.#turns.set(
      key,
      turn.catch(() => {}),
    )
    return turn
  }

  async close(): Promise<void> {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    await Promise.allSettled(entries.map(closeEntry))
  }

  #entryOf(shard: string): Entry {
    const entry = this.#entries.get(shard)
    if (entry === undefined) throw new Error(`Shard ${shard} is not open`)
    return entry
  }

  async #guard<T>(shard: string, entry: Entry, work: () => Promise<T>): Promise<T> {
    if (entry.down !== undefined) throw entry.down
    try {
      return await work()
    } catch (error) {
      if (isOutage(error) && entry.down === undefined) {
        entry.down = error
        this.#onDown(shard)
      }
      throw error
    }
  }
}

async function closeEntry({ database, runtime }: Entry): Promise<void> {
  await Promise.all([database.close(), runtime?.database.close()])
}
