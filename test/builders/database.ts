import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Client, escapeIdentifier } from 'pg'
import type { Credentials, ShardEndpoint } from '../../config/routing.ts'
import { latest, type Migration, readMigrations } from '../../operator/postgres/migrations.ts'
import { type ShardNames, shardNames, tenantName } from '../../operator/postgres/names.ts'
import { scramVerifier } from '../../operator/postgres/scram.ts'
import {
  closeToPublic,
  createDatabase as createDatabaseText,
  createRoles,
  createTenant,
  grantLogin,
  migrateDatabase,
  setVerifier,
} from '../../operator/postgres/statements.ts'
import { buildRoute } from '../../operator/routing/build.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'

/** How to reach a server as the login that provisions. */
export type Server = { host: string; port: number; adminUser: string; adminPassword: string; superuserUrl: string }

/** A database laid out as a Shard's is, for one test file. */
export type TestDatabase = {
  name: string
  /** The Shard it stands for. */
  shard: string
  endpoint: ShardEndpoint
  /** The runtime's login. */
  credentials: Credentials
  /** A connection as the admin login, which sees the heads but no tenant's rows. */
  admin: Client
  /** A new tenant with schema, role, head and all tables. */
  tenant: (id?: string) => Promise<TenantContext>
  /** Takes the role of the tenant and gives what the statement finds. */
  asTenant: (tenant: TenantContext, text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>
  drop: () => Promise<void>
}

const MIGRATIONS = join(import.meta.dirname, '..', '..', 'config', 'migrations')

/** Makes a database with the runtime's login and the tables all tenants share, by the operator's own statements. */
export async function createDatabase(server: Server, shard = 'shard-a'): Promise<TestDatabase> {
  const names = shardNames(`test_${randomBytes(6).toString('hex')}`)
  const { database, login } = names
  const credentials = { username: login, password: randomBytes(12).toString('hex') }
  const migrations = await readMigrations(MIGRATIONS)
  const postgres = await connect(server, 'postgres')
  for (const statement of [
    createDatabaseText(names),
    createRoles(names, []),
    setVerifier(names, await scramVerifier(credentials.password)),
  ])
    await postgres.query(statement)
  await postgres.end()
  const admin = await connect(server, database)
  for (const statement of [closeToPublic(names), grantLogin(names), ...migrations.database.map((one) => migrateDatabase(names, one))])
    await admin.query(statement)
  return {
    name: database,
    shard,
    endpoint: { host: server.host, port: server.port, database, tls: 'disable' },
    credentials,
    admin,
    tenant: (id = 'acme') => provision(admin, names, migrations.tenant, { id, shard }),
    asTenant: (tenant, text, values) => asTenant(admin, tenant, text, values),
    drop: async () => {
      await admin.end()
      await dropDatabase(server, database)
    },
  }
}

async function provision(
  admin: Client,
  names: ShardNames,
  migrations: readonly Migration[],
  { id, shard }: { id: string; shard: string },
): Promise<TenantContext> {
  const uid = randomUUID()
  const physical = tenantName(uid)
  await admin.query(createTenant(names, { uid, installation: randomUUID(), namespace: 'test', name: id, epoch: 1 }, migrations))
  await admin.query(`GRANT ${escapeIdentifier(physical)} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE`)
  const home = { shard, isolation: 'schema', database: names.database, schema: physical, role: physical, epoch: 1 } as const
  const route = buildRoute({ id, uid, home: { ...home, schemaVersion: latest(migrations) }, hosts: [], keys: [] })
  return { id, uid, route, caller: 'test', requestId: 'test' }
}

async function asTenant(admin: Client, { route }: TenantContext, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  await admin.query('BEGIN')
  try {
    await admin.query("SELECT set_config('role', $1, true), set_config('search_path', $2, true)", [
      route.role,
      escapeIdentifier(route.schema),
    ])
    return (await admin.query(text, values)).rows
  } finally {
    await admin.query('COMMIT')
  }
}

async function dropDatabase(server: Server, name: string): Promise<void> {
  const client = new Client({ connectionString: server.superuserUrl })
  await client.connect()
  await client.query(`DROP DATABASE ${escapeIdentifier(name)} WITH (FORCE)`)
  await client.end()
}

async function connect(server: Server, database: string): Promise<Client> {
  const client = new Client({ host: server.host, port: server.port, user: server.adminUser, password: server.adminPassword, database })
  await client.connect()
  return client
}
