import { type Client, type Connection, DatabaseError, Query } from 'pg'
import { ConnectionLost } from './failure.ts'
import type { PreparedStatements } from './prepared.ts'
import type { Row, Value } from './statement.ts'

/** One statement of a bundle; `key` names it among all that the connection keeps prepared. */
export type Step = { key: string; text: () => string; values: readonly Value[] }

/**
 * Statements that go out together with one Sync behind the last: one round trip, and one implicit transaction, which
 * nothing of another bundle can come between. It extends pg's Query since a pipelined client takes no other kind.
 */
class Bundle extends Query {
  readonly #steps: readonly Step[]
  readonly #prepared: PreparedStatements
  #closed: string[] = []
  #parsed: string[] = []

  constructor(steps: readonly Step[], prepared: PreparedStatements, settle: (error: Error | undefined, rows: Row[][]) => void) {
    super('', (error, result) => settle(error ?? undefined, error ? [] : rowsOf(result)))
    this.#steps = steps
    this.#prepared = prepared
  }

  override submit = (connection: Connection): void => {
    // What other requests of this turn of the event loop send over the same connection goes out in the same write.
    connection.stream.cork()
    setImmediate(() => connection.stream.uncork())
    this.#closed = this.#prepared.takeClosing()
    for (const name of this.#closed) connection.close({ type: 'S', name }, true)
    for (const step of this.#steps) this.#send(connection, step)
    connection.sync()
  }

  #send(connection: Connection, step: Step): void {
    let statement = this.#prepared.find(step.key)
    if (statement === undefined) {
      statement = this.#prepared.add(step.key)
      this.#parsed.push(step.key)
      connection.parse({ name: statement, text: step.text(), types: [] }, true)
    }
    connection.bind({ statement, values: step.values.map(encode) }, true)
    connection.describe({ type: 'P', name: '' }, true)
    connection.execute(null, true)
  }

  /** After an error the server skips all up to the Sync: what was to be closed or parsed behind it was not. */
  undo(): void {
    this.#prepared.closeLater(this.#closed)
    for (const key of this.#parsed) this.#prepared.forget(key)
  }
}

/**
 * Sends the steps as one bundle and gives the rows of each. Throws pg's DatabaseError when Postgres refused, after
 * which nothing of the bundle has happened; `ConnectionLost` when the answer never came.
 */
export async function sendBundle(client: Client, prepared: PreparedStatements, steps: readonly Step[]): Promise<Row[][]> {
  try {
    return await submit(client, prepared, steps)
  } catch (error) {
    if (!isForgotten(error)) throw error
    for (const step of steps) prepared.forget(step.key)
    return submit(client, prepared, steps)
  }
}

function submit(client: Client, prepared: PreparedStatements, steps: readonly Step[]): Promise<Row[][]> {
  return new Promise((resolve, reject) => {
    const bundle = new Bundle(steps, prepared, (error, rows) => {
      if (error === undefined) return resolve(rows)
      bundle.undo()
      reject(error instanceof DatabaseError ? error : new ConnectionLost(error))
    })
    client.query(bundle)
  })
}

// Two ways in which a prepared statement goes stale: it was to be parsed by a bundle that failed before, or a migration changed its result.
function isForgotten(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false
  return error.code === '26000' || (error.code === '0A000' && error.routine === 'RevalidateCachedQuery')
}

function rowsOf(result: { rows: Row[] } | { rows: Row[] }[]): Row[][] {
  return Array.isArray(result) ? result.map((one) => one.rows) : [result.rows]
}

function encode(value: Value): string | null {
  return value === null ? null : String(value)
}
