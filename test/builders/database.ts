import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Client, escapeIdentifier } from 'pg'
import type { Credentials, ShardEndpoint } from '../../config/routing.ts'
import type { Isolation } from '../../crds/tenant.ts'
import { readMigrations } from '../../operator/postgres/migrations.ts'
import { type ShardNames, shardNames } from '../../operator/postgres/names.ts'
import { grantRows, migrateRows, secureTables } from '../../operator/postgres/rows.ts'
import { scramVerifier } from '../../operator/postgres/scram.ts'
import {
  closeToPublic,
  createDatabase as createDatabaseText,
  createRoles,
  grantLogin,
  migrateDatabase,
  setVerifier,
} from '../../operator/postgres/statements.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { connectAsSuperuser, connectTo, Provisioner, type Server, takeRole } from './provision.ts'

/** A database laid out as a Shard's is, for one test file. */
export type TestDatabase = {
  name: string
  names: ShardNames
  /** The Shard it stands for. */
  shard: string
  endpoint: ShardEndpoint
  /** The runtime's login. */
  credentials: Credentials
  /** The login of a tenant with a database of its own, by its role. */
  login: (role: string) => Credentials | undefined
  /** A connection as the admin login, which sees the heads but no tenant's rows. */
  admin: Client
  /** The same to where the tenant's tables are. */
  adminOf: (tenant: TenantContext) => Promise<Client>
  /** A new tenant with all its isolation asks for; with a schema unless told otherwise. */
  tenant: (id?: string, isolation?: Isolation) => Promise<TenantContext>
  /** Takes the role of the tenant, as the runtime does, and gives what the statement finds. */
  asTenant: (tenant: TenantContext, text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>
  drop: () => Promise<void>
}

/** The three ways to keep tenants apart, for tests that must hold in each. */
export const ISOLATIONS = ['row', 'schema', 'database'] as const satisfies readonly Isolation[]

const MIGRATIONS = join(import.meta.dirname, '..', '..', 'config', 'migrations')

/** Makes a database with the runtime's login and the tables tenants share, by the operator's own statements. */
export async function createDatabase(server: Server, shard = 'shard-a'): Promise<TestDatabase> {
  const names = shardNames(`test_${randomBytes(6).toString('hex')}`)
  const { database, login } = names
  const credentials = { username: login, password: randomBytes(12).toString('hex') }
  const migrations = await readMigrations(MIGRATIONS)
  await makeEmpty(server, names, credentials.password)
  const admin = await connectTo(server, database)
  for (const statement of [
    closeToPublic(names),
    grantLogin(names),
    ...migrations.database.map((one) => migrateDatabase(names, one)),
    ...migrations.tenant.map((one) => migrateRows(names, one)),
    `${grantRows(names)}\n${secureTables()}`,
    takeRole(names.rows),
  ])
    await admin.query(statement)
  const provisioner = new Provisioner({ server, shard, names, migrations, admin })
  const admins = new Map<string, Promise<Client>>([[database, Promise.resolve(admin)]])
  const adminOf = ({ route }: TenantContext) => {
    const known = admins.get(route.database) ?? connectTo(server, route.database)
    admins.set(route.database, known)
    return known
  }
  return {
    name: database,
    names,
    shard,
    endpoint: { host: server.host, port: server.port, database, tls: 'disable' },
    credentials,
    login: (role) => provisioner.login(role),
    admin,
    adminOf,
    tenant: (id = 'acme', isolation = 'schema') => provisioner.tenant(id, isolation),
    asTenant: async (tenant, text, values) => asTenant(await adminOf(tenant), tenant, text, values),
    drop: async () => {
      for (const client of await Promise.all(admins.values())) await client.end()
      await dropDatabases(server, [...provisioner.databases, database])
    },
  }
}

async function makeEmpty(server: Server, names: ShardNames, password: string): Promise<void> {
  const postgres = await connectTo(server, 'postgres')
  for (const statement of [createDatabaseText(names), createRoles(names, []), setVerifier(names, await scramVerifier(password))])
    await postgres.query(statement)
  await postgres.end()
}

async function asTenant(admin: Client, { uid, route }: TenantContext, text: string, values: unknown[] = []) {
  if (route.isolation === 'database') await admin.query(takeRole(route.role))
  await admin.query('BEGIN')
  try {
    await admin.query("SELECT set_config('role', $1, true), set_config('app.tenant_id', $2, true), set_config('search_path', $3, true)", [
      route.role,
      uid,
      escapeIdentifier(route.schema),
    ])
    return (await admin.query(text, values)).rows
  } finally {
    await admin.query('COMMIT')
  }
}

async function dropDatabases(server: Server, databases: readonly string[]): Promise<void> {
  const client = await connectAsSuperuser(server, 'postgres')
  for (const database of databases) await client.query(`DROP DATABASE IF EXISTS ${escapeIdentifier(database)} WITH (FORCE)`)
  await client.end()
}
