import { randomBytes, randomUUID } from 'node:crypto'
import { Client, escapeIdentifier } from 'pg'
import { type Credentials, SCOPES } from '../../config/routing.ts'
import type { Isolation } from '../../crds/tenant.ts'
import {
  announceDatabase,
  beginTemplate,
  closeDatabase,
  copyTemplate,
  createTemplate,
  fillDatabase,
  fillTemplate,
  openDatabaseTo,
} from '../../operator/postgres/databases.ts'
import { latest, type Migrations } from '../../operator/postgres/migrations.ts'
import { type Physical, physicalNames, type ShardNames } from '../../operator/postgres/names.ts'
import { createRowTenant } from '../../operator/postgres/rows.ts'
import { scramVerifier } from '../../operator/postgres/scram.ts'
import { createTenant, type TenantIdentity } from '../../operator/postgres/statements.ts'
import { buildRoute } from '../../operator/routing/build.ts'
import { PLANS } from '../../operator/tenant/limits.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'

/** How to reach a server as the login that provisions. */
export type Server = { host: string; port: number; adminUser: string; adminPassword: string; superuserUrl: string }

/** A Shard's database and what tenants are made of there. */
export type Ground = { server: Server; shard: string; names: ShardNames; migrations: Migrations; admin: Client }

/** With the most room, and no limit of how many and how often: what a test is about is set in the route. */
const { connections, statementMs, lockMs, idleInTransactionMs } = PLANS.premium
const TIMES = { statementMs, lockMs, idleInTransactionMs }

/** Lays out tenants of every isolation by the operator's own statements, and remembers the logins it made. */
export class Provisioner {
  readonly #ground: Ground
  readonly #logins = new Map<string, Credentials>()
  #template: Promise<void> | undefined

  constructor(ground: Ground) {
    this.#ground = ground
  }

  /** The login of a tenant with a database of its own, by its role. */
  login(role: string): Credentials | undefined {
    return this.#logins.get(role)
  }

  /** The databases made besides the Shard's own. */
  get databases(): string[] {
    return [...this.#logins.keys(), ...(this.#template === undefined ? [] : [this.#ground.names.template])]
  }

  /** The template of tenants' databases, made by the first who asks. */
  template(): Promise<void> {
    this.#template ??= makeTemplate(this.#ground)
    return this.#template
  }

  async tenant(id: string, isolation: Isolation): Promise<TenantContext> {
    const { names, migrations, shard } = this.#ground
    const uid = randomUUID()
    const physical = physicalNames(isolation, names, uid)
    await this.#make(isolation, { uid, installation: randomUUID(), namespace: 'test', name: id, epoch: 1 }, physical)
    const home = { shard, isolation, ...physical, epoch: 1, schemaVersion: latest(migrations.tenant) }
    return {
      id,
      uid,
      route: buildRoute({ id, uid, about: {}, home, state: { state: 'active' }, limits: TIMES, hosts: [], keys: [] }),
      caller: 'key:test',
      scopes: new Set(SCOPES),
      requestId: 'test',
    }
  }

  async #make(isolation: Isolation, identity: TenantIdentity, physical: Physical): Promise<void> {
    const { admin, names, migrations } = this.#ground
    if (isolation === 'database') return this.#makeDatabase(identity, physical)
    if (isolation === 'row') return void (await admin.query(createRowTenant(names, identity)))
    await admin.query(createTenant(names, identity, migrations.tenant))
    await admin.query(takeRole(physical.role))
  }

  async #makeDatabase(identity: TenantIdentity, physical: Physical): Promise<void> {
    const { server, admin, names, migrations } = this.#ground
    const password = randomBytes(12).toString('hex')
    await this.template()
    await admin.query(announceDatabase(identity, physical))
    this.#logins.set(physical.role, { username: physical.role, password })
    await admin.query(copyTemplate(names, physical))
    await admin.query(closeDatabase(physical))
    await runApart(server, physical.database, fillDatabase(identity, physical, names, migrations.tenant))
    const verifier = await scramVerifier(password)
    const entry = { login: physical.role, verifier, limits: { ...TIMES, connections } }
    await admin.query(openDatabaseTo(physical, entry, identity.uid, latest(migrations.database), migrations.tenant))
  }
}

/** Lets the admin login take a role, to look with its eyes. */
export function takeRole(role: string): string {
  return `GRANT ${escapeIdentifier(role)} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE`
}

/** A connection: as the admin login, or as another. */
export async function connectTo({ host, port, adminUser, adminPassword }: Server, database: string, login?: Credentials): Promise<Client> {
  const { username, password } = login ?? { username: adminUser, password: adminPassword }
  const client = new Client({ host, port, user: username, password, database })
  // A connection that is cut when its database is dropped is nobody's fault.
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** A connection as the superuser, which no wall stops. */
export async function connectAsSuperuser({ superuserUrl }: Pick<Server, 'superuserUrl'>, database: string): Promise<Client> {
  const url = new URL(superuserUrl)
  url.pathname = `/${database}`
  const client = new Client({ connectionString: url.href })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function makeTemplate({ server, admin, names, migrations }: Ground): Promise<void> {
  await admin.query(createTemplate(names))
  await admin.query(beginTemplate(names, 'test'))
  await runApart(server, names.template, fillTemplate(names, migrations.database))
}

async function runApart(server: Server, database: string, text: string): Promise<void> {
  const client = await connectTo(server, database)
  await client.query(text)
  await client.end()
}
