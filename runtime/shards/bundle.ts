import { type Client, type Connection, DatabaseError, Query } from 'pg'
import { ConnectionLost } from './failure.ts'
import type { Prepared, PreparedStatements } from './prepared.ts'
import type { Row, Value } from './statement.ts'

/** One statement of a bundle; `key` names it among all that the connection keeps prepared. */
export type Step = { key: string; text: () => string; values: readonly Value[] }

/** What pg hands on of the server's messages. */
type RowDescription = { fields: readonly { name: string; dataTypeID: number }[] }
type DataRow = { fields: readonly (string | null)[] }

/** What one statement has answered. Described: the server was asked what its rows are made of. */
type Answer = { statement: Prepared; described: boolean; rows: DataRow['fields'][] }

type Settle = (error: Error | undefined, answers: readonly Answer[]) => void

/**
 * Statements that go out together with one Sync behind the last: one round trip, and one implicit transaction, which
 * nothing of another bundle can come between. It extends pg's Query since a pipelined client takes no other kind, and
 * takes the answers itself: what the rows of a prepared statement are made of never changes, so that it is asked for
 * and read once, not with each execution, which costs as much as reading a row.
 */
class Bundle extends Query {
  readonly #client: Client
  readonly #steps: readonly Step[]
  readonly #prepared: PreparedStatements
  readonly #settle: Settle
  readonly #answers: Answer[] = []
  #answered = 0
  #closed: string[] = []
  #parsed: string[] = []

  constructor(client: Client, steps: readonly Step[], prepared: PreparedStatements, settle: Settle) {
    super('')
    this.#client = client
    this.#steps = steps
    this.#prepared = prepared
    this.#settle = settle
  }

  override submit = (connection: Connection): void => {
    // What other requests of this turn of the event loop send over the same connection goes out in the same write.
    if (connection.stream.writableCorked === 0) {
      connection.stream.cork()
      setImmediate(() => connection.stream.uncork())
    }
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
      connection.parse({ name: statement.name, text: step.text(), types: [] }, true)
    }
    connection.bind({ statement: statement.name, values: step.values.map(encode) }, true)
    const described = statement.columns === undefined
    if (described) connection.describe({ type: 'P', name: '' }, true)
    connection.execute(null, true)
    this.#answers.push({ statement, described, rows: [] })
  }

  handleRowDescription({ fields }: RowDescription): void {
    const answer = this.#answers[this.#answered]
    if (answer === undefined) return
    answer.statement.columns = fields.map(({ name, dataTypeID }) => ({ name, read: this.#client.getTypeParser(dataTypeID, 'text') }))
  }

  handleDataRow({ fields }: DataRow): void {
    this.#answers[this.#answered]?.rows.push(fields)
  }

  handleCommandComplete(): void {
    const answer = this.#answers[this.#answered]
    // What answers no rows is described by saying nothing.
    if (answer?.described) answer.statement.columns ??= []
    this.#answered += 1
  }

  handleReadyForQuery(): void {
    this.#settle(undefined, this.#answers)
  }

  handleError(error: Error): void {
    this.#settle(error, [])
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
export function sendBundle(client: Client, prepared: PreparedStatements, steps: readonly Step[]): Promise<Row[][]> {
  return new Promise((resolve, reject) => {
    const again = (error: Error): void => {
      if (!isForgotten(error)) {
        reject(error)
        return
      }
      for (const step of steps) prepared.forget(step.key)
      submit(client, prepared, steps, resolve, reject)
    }
    submit(client, prepared, steps, resolve, again)
  })
}

type Resolve = (rows: Row[][]) => void
type Reject = (error: Error) => void

function submit(client: Client, prepared: PreparedStatements, steps: readonly Step[], resolve: Resolve, reject: Reject): void {
  const bundle = new Bundle(client, steps, prepared, (error, answers) => {
    if (error === undefined) return resolve(answers.map(rowsOf))
    bundle.undo()
    reject(error instanceof DatabaseError ? error : new ConnectionLost(error))
  })
  client.query(bundle)
}

// Two ways in which a prepared statement goes stale: it was to be parsed by a bundle that failed before, or a migration changed its result.
function isForgotten(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return false
  return error.code === '26000' || (error.code === '0A000' && error.routine === 'RevalidateCachedQuery')
}

function rowsOf({ statement: { columns = [] }, rows }: Answer): Row[] {
  return rows.map((values) => {
    const row: Row = {}
    columns.forEach(({ name, read }, index) => {
      const text = values[index] ?? null
      row[name] = text === null ? null : read(text)
    })
    return row
  })
}

function encode(value: Value): string | null {
  return value === null ? null : String(value)
}
