import { randomBytes } from 'node:crypto'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { type ClientConfig, types as pgTypes, TypeOverrides } from 'pg'
import type { Credentials, Limits, ShardEndpoint } from '../../config/routing.ts'

/** Where a Shard is and how to log in. */
export type Login = { endpoint: ShardEndpoint; credentials: Credentials }

/** Sizes and times of a Shard's connections; times in milliseconds. */
export type SessionSettings = {
  /** Shared connections for reads and command bundles. */
  pipelined: number
  /** Connections for interactive transactions. */
  interactive: number
  /** Connections to tenants' own databases, of all tenants of a Shard together. */
  databases: number
  /** Statements each connection keeps prepared; 0: behind a pooler, where what a connection is told is lost with the transaction. */
  prepared: number
  connectTimeout: number
  /** Postgres ends a statement after this; less than the deadline, so that one slow statement does not cost the connection. */
  statementTimeout: number
  /** A caller is answered after this in any case. */
  deadline: number
}

export const DEFAULT_SESSION: SessionSettings = {
  pipelined: 5,
  interactive: 3,
  databases: 16,
  prepared: 500,
  connectTimeout: 2_000,
  statementTimeout: 4_000,
  deadline: 5_000,
}

/** What the runtime lets a tenant have: never more than its own times, without limits of the tenant's just those. */
export function limitsWithin({ statementTimeout, deadline }: SessionSettings, limits?: Limits): Limits {
  const { statementMs = statementTimeout, lockMs = statementTimeout, idleInTransactionMs = deadline * 2 } = limits ?? {}
  return {
    statementMs: Math.min(statementMs, statementTimeout),
    lockMs: Math.min(lockMs, statementTimeout),
    idleInTransactionMs: Math.min(idleInTransactionMs, deadline * 2),
  }
}

/** Names this replica to the server and to nobody else: so the operator sees how many connections each has, and no tenant the name of a pod. */
const REPLICA = `tenantry-runtime/${randomBytes(4).toString('hex')}`

/** True when both lead to the same server with the same login. */
export function sameLogin(a: Login, b: Login): boolean {
  if (a.endpoint === b.endpoint && a.credentials === b.credentials) return true
  return JSON.stringify([a.endpoint, a.credentials]) === JSON.stringify([b.endpoint, b.credentials])
}

/** pg's configuration of one connection. With `verify-full` the chain and the host name are checked. */
export function clientConfig({ endpoint, credentials }: Login, settings: SessionSettings): ClientConfig {
  return {
    host: endpoint.host,
    port: endpoint.port,
    database: endpoint.database,
    user: credentials.username,
    password: credentials.password,
    ssl: tls(endpoint, credentials),
    application_name: REPLICA,
    connectionTimeoutMillis: settings.connectTimeout,
    // A pooler refuses them; there the login's own hold, which the operator has set.
    ...(settings.prepared === 0 ? {} : timeouts(settings)),
    keepAlive: true,
    types,
  }
}

function timeouts(settings: SessionSettings): ClientConfig {
  const { statementMs, lockMs, idleInTransactionMs } = limitsWithin(settings)
  return { statement_timeout: statementMs, lock_timeout: lockMs, idle_in_transaction_session_timeout: idleInTransactionMs }
}

function tls(endpoint: ShardEndpoint, credentials: Credentials): ClientConfig['ssl'] {
  if (endpoint.tls === 'disable') return false
  if (endpoint.tls === 'require') return { rejectUnauthorized: false }
  // pg passes no host name on for an address, and Node would then check the certificate against "localhost".
  const verify = {
    rejectUnauthorized: true,
    checkServerIdentity: (_: string, peer: PeerCertificate) => checkServerIdentity(endpoint.host, peer),
  }
  return credentials.ca === undefined ? verify : { ...verify, ca: credentials.ca }
}

// Positions and counts are far below 2^53.
const types = new TypeOverrides()
types.setTypeParser(pgTypes.builtins.INT8, Number)
