import { Client } from 'pg'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import type { TestDatabase } from './database.ts'

/** A connection, and everything it has been told: rows, copied lines, notices. */
export type Line = { client: Client; heard: string[] }

/** What an attempt brought: all that came back as one text, and why it was refused, if it was. */
export type Told = { refused: string | undefined; text: string }

/** Listens on a connection to whatever comes back. */
export function lineOn(client: Client): Line {
  const heard: string[] = []
  client.on('notice', ({ message }) => heard.push(message ?? ''))
  client.connection.on('copyData', ({ chunk }: { chunk: Buffer }) => heard.push(chunk.toString()))
  return { client, heard }
}

/** Logs in with what the runtime has for a tenant of that role: its own login, or the one that tenants of a Shard share. */
export async function logIn(database: TestDatabase, role: string, to: string): Promise<Client> {
  const { username: user, password } = database.login(role) ?? database.credentials
  const { host, port } = database.endpoint
  const client = new Client({ host, port, user, password, database: to })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

/** Runs SQL of a tenant's own, as somebody could who has found a hole in a query: in a transaction entered as the runtime enters it. */
export async function attempt({ client, heard }: Line, { uid, route }: TenantContext, statements: readonly string[]): Promise<Told> {
  heard.length = 0
  await client.query('BEGIN')
  try {
    await client.query("SELECT set_config('role', $1, true), set_config('app.tenant_id', $2, true)", [route.role, uid])
    for (const statement of statements) heard.push(JSON.stringify((await client.query(statement)).rows))
    await client.query('COMMIT')
    return { refused: undefined, text: heard.join('\n') }
  } catch (error) {
    await client.query('ROLLBACK')
    return { refused: String(error), text: [...heard, String(error)].join('\n') }
  }
}
