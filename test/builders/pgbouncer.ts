import { chown, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { cacheFolder } from '../../config/local/build.ts'
import { findUnprivilegedUser, reachableCopy } from '../../config/local/other-user.ts'
import { findFreePort } from '../../config/local/ports.ts'
import { ensureRunning } from '../../config/local/processes.ts'
import { run } from '../../config/local/run.ts'
import type { Credentials, ShardEndpoint } from '../../config/routing.ts'

/** A pooler before a server. */
export type PgBouncer = { host: string; port: number; version: string; stop: () => Promise<void> }

type Program = { command: string; env: Record<string, string> }

const HOST = '127.0.0.1'
const PACKAGES = ['pgbouncer', 'libc-ares2', 'libevent-2.1-7']

/** Starts PgBouncer in transaction mode, with one server connection for each login and database, for the runtime's login and those of tenants' databases. Throws when there is none and none can be had. */
export async function startPgBouncer(to: ShardEndpoint, { username, password }: Credentials, own: Credentials[]): Promise<PgBouncer> {
  const { command, env } = await findPgBouncer()
  const user = await findUnprivilegedUser()
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-pgbouncer-'))
  const port = await findFreePort()
  const settings = {
    listen_addr: HOST,
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'scram-sha-256',
    auth_file: join(folder, 'users'),
    pool_mode: 'transaction',
    default_pool_size: 1,
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key} = ${value}`)
  await writeFile(join(folder, 'ini'), `[databases]\n* = host=${to.host} port=${to.port}\n[pgbouncer]\n${lines.join('\n')}\n`)
  const logins = [{ username, password }, ...own]
  await writeFile(join(folder, 'users'), logins.map((login) => `"${login.username}" "${login.password}"\n`).join(''))
  if (user !== undefined) for (const file of ['', 'ini', 'users']) await chown(join(folder, file), user.uid, user.gid)
  const server = await ensureRunning({
    name: 'pgbouncer',
    command,
    args: [join(folder, 'ini')],
    env,
    user,
    folder,
    logFile: join(folder, 'log'),
    healthy: () => answers({ host: HOST, port, database: to.database, user: username, password }),
    startMs: 20_000,
  })
  const version = (await run(command, ['--version'], { env })).stdout.split('\n')[0] ?? ''
  return {
    host: HOST,
    port,
    version,
    stop: async () => {
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function answers(config: ConstructorParameters<typeof Client>[0]): Promise<boolean> {
  const client = new Client(config)
  client.on('error', () => undefined)
  await client.connect()
  await client.end()
  return true
}

/** That of the system, else Debian's packages, unpacked into the cache folder: root is not needed for that. */
async function findPgBouncer(): Promise<Program> {
  for (const command of ['pgbouncer', '/usr/sbin/pgbouncer']) {
    const there = await run(command, ['--version']).catch(() => undefined)
    if (there !== undefined) return { command, env: {} }
  }
  const user = await findUnprivilegedUser()
  const unpacked = await unpack(join(cacheFolder(), 'pgbouncer')).catch((cause) => {
    throw new Error('there is no pgbouncer: install it, on Debian with "sudo apt-get install pgbouncer"', { cause })
  })
  const folder = user === undefined ? unpacked : await reachableCopy(unpacked, user)
  const libraries = (await readdir(join(folder, 'usr', 'lib'))).map((name) => join(folder, 'usr', 'lib', name))
  return { command: join(folder, 'usr', 'sbin', 'pgbouncer'), env: { LD_LIBRARY_PATH: libraries.join(':') } }
}

async function unpack(folder: string): Promise<string> {
  if ((await readdir(folder).catch(() => [])).length > 0) return folder
  await mkdir(cacheFolder(), { recursive: true })
  const fresh = await mkdtemp(`${folder}-`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const fetch = () => run('apt-get', ['download', '-qq', ...PACKAGES], { cwd: fresh, env })
  await fetch().catch(async (error: unknown) => {
    if (userInfo().uid !== 0) throw error
    await run('apt-get', ['update', '-qq'], { env })
    await fetch()
  })
  for (const file of await readdir(fresh)) if (file.endsWith('.deb')) await run('dpkg', ['-x', join(fresh, file), fresh])
  // Of two that unpack at once the second finds it done.
  await rename(fresh, folder).catch(() => rm(fresh, { recursive: true, force: true }))
  return folder
}
