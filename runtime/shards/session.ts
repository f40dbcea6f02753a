import { escapeIdentifier } from 'pg'
import type { Log } from '../../config/log.ts'
import type { Credentials, Route, ShardEndpoint } from '../../config/routing.ts'
import { TenantryError } from '../errors.ts'
import type { Breaker } from '../resilience/breaker.ts'
import type { TenantContext } from '../tenancy/context.ts'
import type { Step } from './bundle.ts'
import { TenantDatabases, type Way } from './databases.ts'
import { limitsWithin, type SessionSettings, sameLogin } from './endpoint.ts'
import { toTenantryError } from './failure.ts'
import { Places } from './places.ts'
import { changes, type PoolChange, Shard, shardBreaker } from './shard.ts'
import { type Share, shareOf } from './share.ts'
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
  /** The login of a tenant with a database of its own, by its role. */
  login?: (role: string) => Credentials | undefined
  settings: SessionSettings
  log: Log
}

const PING: Statement = { name: 'ping', text: () => 'SELECT 1', values: [] }
const BEGIN: Step = { key: 'begin', text: () => 'BEGIN', values: [] }
const ENTER_TO_READ = setLocally('role', 'app.tenant_id', 'statement_timeout')
const ENTER = setLocally('role', 'app.tenant_id', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
const KEEP_UP_EVERY = 1_000

/** Opens the door. Connections are made when they are first needed. */
export function createSession(options: SessionOptions): Session {
  const shards = new Shards(options)
  const send = (tenant: Tenant, steps: readonly Step[], signal: AbortSignal | undefined): Promise<Row[][]> =>
    told(() => shards.of(tenant.route).bundle(pinOf(tenant.uid), steps, signal))
  const poll = async (shard: string, statement: Statement): Promise<Row[]> => {
    const step: Step = { key: statement.name, text: () => statement.text(''), values: statement.values }
    const [rows = []] = await told(() => shards.find(shard).bundle(0, [step]))
    return rows
  }
  return {
    poll,
    bundle: async (tenant, statements, signal) => {
      const steps = statements.map((statement) => stepOf(tenant, statement))
      return (await send(tenant, [enter(tenant, options.settings), ...steps], signal)).slice(1)
    },
    read: async (tenant, statement, signal) => {
      const rows = await send(tenant, [enterToRead(tenant, options.settings), stepOf(tenant, statement)], signal)
      return rows[1] ?? []
    },
    transaction: (tenant, work) =>
      told(() =>
        shards.of(tenant.route).transaction([BEGIN, enter(tenant, options.settings)], (send, atEnd) =>
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
  readonly #databases = new Map<string, TenantDatabases>()
  readonly #places = new Map<string, Places>()
  readonly #timer: NodeJS.Timeout

  constructor(options: SessionOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#keepUp(), KEEP_UP_EVERY).unref()
  }

  /** The connections for a tenant: those of its Shard, or of its own database there. */
  of(route: Route): Shard {
    return route.isolation === 'database' ? this.#databasesOf(route.shard).find(this.#wayTo(route)) : this.find(route.shard)
  }

  find(name: string): Shard {
    const endpoint = this.#options.endpoint(name)
    const credentials = this.#options.credentials(name)
    if (endpoint === undefined || credentials === undefined) {
      throw unknownPlace()
    }
    const login = { endpoint, credentials }
    const known = this.#shards.get(name)
    if (known !== undefined && sameLogin(known.login, login)) {
      // The newest objects are kept, so that the next comparison is by identity.
      known.login = login
      return known
    }
    const share = this.#shareOf(name)
    const places = this.#placesOf(name, share)
    const settings = { ...this.#options.settings, ...share }
    const shard = new Shard(name, login, settings, this.#breakerOf(name), () => places.take())
    this.#shards.set(name, shard)
    if (known !== undefined) this.#retire(name, known)
    return shard
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#shards.values(), ...this.#databases.values()].map((open) => open.close()))
  }

  #wayTo(route: Route): Way {
    const { endpoint: endpointOf, credentials, login: loginOf } = this.#options
    const endpoint = endpointOf(route.shard)
    const login = loginOf?.(route.role)
    if (endpoint === undefined || login === undefined) throw unknownPlace()
    return { route, endpoint, login, ca: credentials(route.shard)?.ca, breaker: this.#breakerOf(route.shard) }
  }

  #databasesOf(name: string): TenantDatabases {
    const { settings, log } = this.#options
    const complain = (error: unknown) => log.warn({ shard: name, error }, 'connections to a tenant’s database did not end well')
    const known = this.#databases.get(name) ?? new TenantDatabases(name, this.#shareOf(name).databases, settings, complain)
    this.#databases.set(name, known)
    return known
  }

  #shareOf(name: string): Share {
    return shareOf(this.#options.settings, this.#options.endpoint(name)?.connections)
  }

  /** Those for the Shard's own database: a login's connections and those of the one before it have them together. */
  #placesOf(name: string, { pipelined, interactive }: Share): Places {
    const most = pipelined + interactive
    const places = this.#places.get(name) ?? new Places(most, this.#options.settings.connectTimeout)
    this.#places.set(name, places)
    places.resize(most)
    return places
  }

  #breakerOf(name: string): Breaker {
    const breaker = this.#breakers.get(name) ?? shardBreaker(name)
    this.#breakers.set(name, breaker)
    return breaker
  }

  #retire(name: string, shard: Shard): void {
    this.#options.log.info({ shard: name }, 'endpoint, share or login changed: connecting anew')
    shard.close().catch((error: unknown) => this.#options.log.warn({ shard: name, error }, 'old connections did not end well'))
  }

  /** What was replaced, a login or the share, is let go also where no request comes by; how the connections stand is announced. */
  #keepUp(): void {
    for (const name of [...this.#shards.keys()]) if (this.#isKnown(name)) this.find(name)
    for (const shard of this.#shards.values()) shard.announce()
    for (const [shard, databases] of this.#databases) {
      databases.sweep()
      databases.fit(this.#shareOf(shard).databases)
      changes.publish({ shard, state: 'databases', connections: databases.connections } satisfies PoolChange)
    }
  }

  #isKnown(name: string): boolean {
    return this.#options.endpoint(name) !== undefined && this.#options.credentials(name) !== undefined
  }
}

function unknownPlace(): TenantryError {
  return new TenantryError('shard-unavailable', 'The database of this tenant is not known yet.', { retryAfter: 1 })
}

// All is local to the transaction, so that it cannot outlive it: the role, which `none` would make the runtime's own login, the tenant, by which
// the policies of shared tables go, and how long the tenant may keep the database, which a role that is only taken cannot carry. Postgres
// times each statement anew, so that this holds for all that follow. The same statements serve every isolation.
function enter({ uid, route }: Tenant, settings: SessionSettings): Step {
  const { statementMs, lockMs, idleInTransactionMs } = limitsWithin(settings, route.limits)
  return { key: 'enter', text: () => ENTER, values: [roleOf(route), uid, statementMs, lockMs, idleInTransactionMs] }
}

// One statement alone leaves nothing idle, and what it waits for a lock is part of its time: each setting that it is spared is 3 % of a read.
function enterToRead({ uid, route }: Tenant, settings: SessionSettings): Step {
  const { statementMs } = limitsWithin(settings, route.limits)
  return { key: 'enter.read', text: () => ENTER_TO_READ, values: [roleOf(route), uid, statementMs] }
}

function roleOf({ role }: Route): string {
  if (role === '' || role === 'none') throw new TenantryError('internal', 'The tenant has no role.')
  return role
}

// No row comes back, which would cost as much as a setting or two.
function setLocally(...settings: string[]): string {
  const calls = settings.map((setting, index) => `set_config('${setting}', $${index + 1}, true)`)
  return `SELECT WHERE num_nulls(${calls.join(', ')}) > 0`
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
