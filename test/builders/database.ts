import { randomBytes, randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { Client, escapeIdentifier, escapeLiteral } from 'pg'
import type { Credentials, Route, ShardEndpoint } from '../../config/routing.ts'
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

const MIGRATIONS = new URL('../../config/migrations/', import.meta.url)

/** Makes a database with the runtime's login and the tables all tenants share. */
export async function createDatabase(server: Server, shard = 'shard-a'): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  const credentials = { username: `${name}_runtime_a`, password: randomBytes(12).toString('hex') }
  const groups = { runtime: `${name}_runtime`, tenants: `${name}_tenants` }
  await layRoles(server, name, groups, credentials)
  const admin = await connect(server, name)
  await migrate(admin, 'database/', groups)
  return {
    name,
    shard,
    endpoint: { host: server.host, port: server.port, database: name, tls: 'disable' },
    credentials,
    admin,
    tenant: (id = 'acme') => provision(admin, { id, shard, database: name, groups }),
    asTenant: (tenant, text, values) => asTenant(admin, tenant, text, values),
    drop: async () => {
      await admin.end()
      await dropDatabase(server, name)
    },
  }
}

type Groups = { runtime: string; tenants: string }

async function layRoles(server: Server, name: string, groups: Groups, credentials: Credentials): Promise<void> {
  const client = await connect(server, 'postgres')
  const [runtime, tenants, login] = [groups.runtime, groups.tenants, credentials.username].map(escapeIdentifier)
  await client.query(`CREATE ROLE ${runtime} NOLOGIN`)
  await client.query(`CREATE ROLE ${tenants} NOLOGIN`)
  await client.query(`CREATE ROLE ${login} LOGIN PASSWORD ${escapeLiteral(credentials.password)}`)
  await client.query(`GRANT ${runtime} TO ${login} WITH INHERIT TRUE, SET TRUE`)
  await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`)
  await client.query(`REVOKE ALL ON DATABASE ${escapeIdentifier(name)} FROM PUBLIC`)
  await client.query(`GRANT CONNECT ON DATABASE ${escapeIdentifier(name)} TO ${runtime}`)
  await client.end()
}

async function provision(admin: Client, place: { id: string; shard: string; database: string; groups: Groups }): Promise<TenantContext> {
  const uid = randomUUID()
  const role = `t_${uid.replaceAll('-', '')}`
  const quoted = escapeIdentifier(role)
  await admin.query('BEGIN')
  await admin.query(`CREATE ROLE ${quoted} NOLOGIN`)
  await admin.query(`GRANT ${escapeIdentifier(place.groups.tenants)} TO ${quoted}`)
  await admin.query(`GRANT ${quoted} TO ${escapeIdentifier(place.groups.runtime)} WITH INHERIT FALSE, SET TRUE`)
  await admin.query(`GRANT ${quoted} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE`)
  await admin.query(`CREATE SCHEMA ${quoted}`)
  await admin.query(`GRANT USAGE ON SCHEMA ${quoted} TO ${quoted}`)
  await admin.query(
    "INSERT INTO tenantry.tenants (uid, namespace, name, isolation, schema_name, role_name) VALUES ($1, 'test', $2, 'schema', $3, $3)",
    [uid, place.id, role],
  )
  await admin.query('INSERT INTO tenantry.head (tenant, role, epoch) VALUES ($1, $2, 1)', [uid, role])
  await admin.query('INSERT INTO tenantry.relayed (tenant, role) VALUES ($1, $2)', [uid, role])
  await admin.query(`SET LOCAL search_path TO ${quoted}`)
  const schemaVersion = await migrate(admin, '', { role, schema: role })
  await admin.query('COMMIT')
  const route: Route = {
    id: place.id,
    uid,
    shard: place.shard,
    isolation: 'schema',
    database: place.database,
    schema: role,
    role,
    epoch: 1,
    schemaVersion,
    state: 'active',
    hosts: [],
    keys: [],
  }
  return { id: place.id, uid, route, caller: 'test', requestId: 'test' }
}

async function migrate(client: Client, folder: string, names: Record<string, string>): Promise<number> {
  const files = (await readdir(new URL(folder, MIGRATIONS))).filter((file) => file.endsWith('.sql')).sort()
  for (const file of files) {
    const text = await readFile(new URL(`${folder}${file}`, MIGRATIONS), 'utf8')
    await client.query(
      text.replaceAll(/(?<!:):(\w+)/g, (whole, name) => (names[name] === undefined ? whole : escapeIdentifier(names[name]))),
    )
  }
  return files.length
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
