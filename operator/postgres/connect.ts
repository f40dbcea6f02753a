import { type ConnectionOptions, checkServerIdentity } from 'node:tls'
import pg from 'pg'
import type { TlsMode } from '../../crds/shard.ts'
import { describeFailure } from './failure.ts'

/** Everything it takes to log in to a database of a Shard. */
export type Access = {
  host: string
  port: number
  database: string
  tls: TlsMode
  /** With `verify-full`: the certificate authority in PEM. */
  ca?: string | undefined
  username: string
  password: string
}

/** A value that travels as a parameter. */
export type Value = string | number | boolean | null

/** A row as pg gives it. */
export type Row = Record<string, unknown>

/** A database that statements can be sent to. Failures are OperatorErrors where a condition can tell them, else what pg threw. */
export type Database = {
  /** One statement with parameters. Its text is a constant: each connection prepares it once. */
  query: <R extends Row>(text: string, values?: readonly Value[]) => Promise<R[]>
  /**
   * Statements without parameters, in one round trip and one transaction: Postgres makes of a query string with several statements an
   * implicit transaction, which is rolled back whole when one fails.
   */
  run: (text: string) => Promise<void>
  /** The same, and gives the rows of the last statement that had any. */
  lastRows: (text: string) => Promise<Row[]>
  close: () => Promise<void>
}

/** Limits of a pool; times in milliseconds. */
export type Limits = { connections: number; connectMs: number; statementMs: number }

/** What a pass of the operator may take. */
export const DEFAULT_LIMITS: Limits = { connections: 4, connectMs: 5_000, statementMs: 30_000 }

/** A small pool. No connection is made before the first statement; idle ones are closed. */
export function openDatabase(access: Access, limits: Limits = DEFAULT_LIMITS): Database {
  const pool = new pg.Pool({
    host: access.host,
    port: access.port,
    database: access.database,
    user: access.username,
    password: access.password,
    ssl: tlsOptions(access),
    application_name: 'tenantry-operator',
    max: limits.connections,
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: limits.connectMs,
    statement_timeout: limits.statementMs,
    lock_timeout: limits.statementMs / 2,
    idle_in_transaction_session_timeout: limits.statementMs,
    // The server ends a slow statement; this ends a wait for a server that no longer answers at all.
    query_timeout: limits.statementMs + limits.connectMs,
  })
  // A connection that breaks while idle leaves the pool by itself; the next statement tells whether the server is there.
  pool.on('error', () => {})
  return {
    query: async <R extends Row>(text: string, values: readonly Value[] = []) => {
      const { rows } = await attempt(access, () => pool.query<R>({ name: nameOf(text), text, values: [...values] }))
      return rows
    },
    run: async (text) => {
      await attempt(access, () => pool.query(text))
    },
    lastRows: async (text) => {
      const results = [await attempt(access, () => pool.query(text))].flat()
      return results.findLast(({ rows }) => rows.length > 0)?.rows ?? []
    },
    close: () => pool.end(),
  }
}

/** One login and out again. Rejects with an OperatorError that says why it was refused. */
export async function tryLogin(access: Access, limits: Limits = DEFAULT_LIMITS): Promise<void> {
  const database = openDatabase(access, { ...limits, connections: 1 })
  try {
    await database.query('SELECT 1')
  } finally {
    await database.close()
  }
}

const names = new Map<string, string>()

function nameOf(text: string): string {
  const name = names.get(text) ?? `s${names.size}`
  names.set(text, name)
  return name
}

async function attempt<T>(access: Access, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw describeFailure(error, access)
  }
}

function tlsOptions({ tls, host, ca }: Access): false | ConnectionOptions {
  if (tls === 'disable') return false
  if (tls === 'require') return { rejectUnauthorized: false }
  // pg passes no host name on for an address, and Node would then check the certificate against "localhost".
  return { ca, rejectUnauthorized: true, checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate) }
}
