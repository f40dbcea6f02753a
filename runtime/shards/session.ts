import { escapeIdentifier } from 'pg'
import type { Credentials, ShardEndpoint } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Breaker } from '../resilience/breaker.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { Step } from './bundle.ts'
import { type SessionSettings, sameLogin } from './endpoint.ts'
import { toTenantryError } from './failure.ts'
import { Shard, shardBreaker } from './shard.ts'
import type { Row, Statement } from './statement.ts'

/** Whose data is meant, and where it is. */
export type Tenant = Pick<TenantContext, 'uid' | 'route'>

/** Runs statements inside a transaction, in one round trip. Gives the rows of the last. */
export type Run = (...statements: Statement[]) => Promise<Row[]>

/** Adds statements to what goes out together with the COMMIT; nobody sees their rows. */
export type AtEnd = (...statements: Statement[]) => void

/**
 * The only door to Postgres. What goes through it for a tenant runs under the tenant's role, taken for that one transaction.
 * Throws TenantryError: `shard-unavailable` or `overloaded`, with `retryAfter`, or `internal`.
 */
export type Session = {
  /** One statement in one round trip. */
  read: (tenant: Tenant, statement: Statement, signal?: AbortSignal) => Promise<Row[]>
  /** Several statements in one round trip and one transaction; all or nothing. Gives the rows of each. */
  bundle: (tenant: Tenant, statements: readonly Statement[], signal?: AbortSignal) => Promise<Row[][]>
  /** A transaction that thinks between its statements. An error out of `work` undoes it and is passed on. */
  transaction: <T>(tenant: Tenant, work: (run: Run, atEnd: AtEnd) => Promise<T>) => Promise<T>
  /** One statement as the runtime itself, which sees no tenant's data, only heads. */
  poll: (shard: string, statement: Statement) => Promise<Row[]>
  /** Whether the Shard answers. */
  reachable: (shard: string) => Promise<boolean>
  /** Waits for what is under way and ends all connections. */
  close: () => Promise<void>
}

export type SessionOptions = {
  endpoint: (shard: string) => ShardEndpoint | undefined
  credentials: (shard: string) => Credentials | undefined
  settings: SessionSettings
  log: Log
}

const PING: Statement = { name: 'ping', text: () => 'SELECT 1', values: [] }
const BEGIN: Step = { key: 'begin', text: () => 'BEGIN', values: [] }
const KEEP_UP_EVERY = 1_000

/** Opens the door. Connections are made when they are first needed. */
export function createSession(options: SessionOptions): Session {
  const shards = new Shards(options)
  const bundle = async (tenant: Tenant, statements: readonly Statement[], signal?: AbortSignal): Promise<Row[][]> => {
    const steps = [takeRole(tenant), ...statements.map((statement) => stepOf(tenant, statement))]
    const [, ...rows] = await told(() => shards.find(tenant.route.shard).bundle(pinOf(tenant.uid), steps, signal))
    return rows
  }
  const poll = async (shard: string, statement: Statement): Promise<Row[]> => {
    const step: Step = { key: statement.name, text: () => statement.text(''), values: statement.values }
    const [rows = []] = await told(() => shards.find(shard).bundle(0, [step]))
    return rows
  }
  return {
    bundle,
    poll,
    read: async (tenant, statement, signal) => (await bundle(tenant, [statement], signal))[0] ?? [],
    transaction: (tenant, work) =>
      told(() =>
        shards.find(tenant.route.shard).transaction([BEGIN, takeRole(tenant)], (send, atEnd) =>
          work(
            async (...statements) => (await send(statements.map((one) => stepOf(tenant, one)))).at(-1) ?? [],
            (...statements) => atEnd(...statements.map((one) => stepOf(tenant, one))),
          ),
        ),
      ),
    reachable: (shard) =>
      poll(shard, PING).then(
        () => true,
        () => false,
      ),
    close: () => shards.close(),
  }
}

/** The Shards in use, each with the connections that its present endpoint and login ask for. */
class Shards {
  readonly #options: SessionOptions
  readonly #shards = new Map<string, Shard>()
  readonly #breakers = new Map<string, Breaker>()
  readonly #timer: NodeJS.Timeout

  constructor(options: SessionOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#keepUp(), KEEP_UP_EVERY).unref()
  }

  find(name: string): Shard {
    const endpoint = this.#options.endpoint(name)
    const credentials = this.#options.credentials(name)
    if (endpoint === undefined || credentials === undefined) {
      throw new TenantryError('shard-unavailable', 'The database of this tenant is not known yet.', { retryAfter: 1 })
    }
    const login = { endpoint, credentials }
    const known = this.#shards.get(name)
    if (known !== undefined && sameLogin(known.login, login)) {
      // The newest objects are kept, so that the next comparison is by identity.
      known.login = login
      return known
    }
    const shard = new Shard(name, login, this.#options.settings, this.#breakerOf(name))
    this.#shards.set(name, shard)
    if (known !== undefined) this.#retire(name, known)
    return shard
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#shards.values()].map((shard) => shard.close()))
  }

  #breakerOf(name: string): Breaker {
    const breaker = this.#breakers.get(name) ?? shardBreaker(name)
    this.#breakers.set(name, breaker)
    return breaker
  }

  #retire(name: string, shard: Shard): void {
    this.#options.log.info({ shard: name }, 'endpoint or login changed: connecting anew')
    shard.close().catch((error: unknown) => this.#options.log.warn({ shard: name, error }, 'old connections did not end well'))
  }

  /** A login that was replaced is let go also where no request comes by; how the connections stand is announced. */
  #keepUp(): void {
    for (const name of [...this.#shards.keys()]) if (this.#isKnown(name)) this.find(name)
    for (const shard of this.#shards.values()) shard.announce()
  }

  #isKnown(name: string): boolean {
    return this.#options.endpoint(name) !== undefined && this.#options.credentials(name) !== undefined
  }
}

// Local to the transaction, so that it cannot outlive it. `none` would be the runtime's own login.
function takeRole({ route }: Tenant): Step {
  if (route.role === '' || route.role === 'none') throw new TenantryError('internal', 'The tenant has no role.')
  return { key: 'role', text: () => "SELECT set_config('role', $1, true)", values: [route.role] }
}

function stepOf({ route }: Tenant, statement: Statement): Step {
  const text = () => statement.text(`${escapeIdentifier(route.schema)}.`)
  return { key: `${route.schema}/${statement.name}`, text, values: statement.values }
}

// A tenant keeps to one connection, so that each holds the statements of its own tenants only.
function pinOf(uid: string): number {
  const pin = Number.parseInt(uid.slice(-6), 16)
  return Number.isNaN(pin) ? 0 : pin
}

async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw toTenantryError(error)
  }
}
