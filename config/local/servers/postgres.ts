import { randomBytes } from 'node:crypto'
import { chmod, chown, copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import { findPostgres, type PostgresBinaries } from '../binaries.ts'
import { openAuthority } from '../certificates.ts'
import { findUnprivilegedUser, reachableFolder } from '../other-user.ts'
import { ensureRunning, type Server, StartError, type User } from '../processes.ts'
import { run } from '../run.ts'
import { HOST, logOf, portOf, type ServerOptions } from './server.ts'

const ADMIN = 'tenantry_admin'
const SUPERUSER = 'postgres'
const FOREIGN_MEMORY = /shared memory block .* is still in use/

/** Postgres can refuse connections that are not encrypted (default), or offer both; without `tls` it offers no encryption at all. */
export type PostgresOptions = ServerOptions & { requireTls?: boolean; tls?: boolean }

/** A running Postgres. The admin has CREATEROLE and CREATEDB and is no superuser; the superuser is there for tests. */
export type PostgresServer = Server & {
  host: string
  port: number
  /** The certificate authority in PEM; the server's certificate is for 127.0.0.1 and localhost. */
  ca: string
  adminUser: string
  adminPassword: string
  /** With `sslmode=verify-full` and the authority's file, where the server has TLS. */
  adminUrl: string
  superuserUrl: string
}

type Logins = { admin: string; superuser: string }
type Home = { folder: string; user: User | undefined; binaries: PostgresBinaries }

/** Starts Postgres with TLS from an authority of its own and SCRAM passwords that are made once. Throws StartError. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const name = options.name ?? 'postgres'
  await mkdir(options.folder, { recursive: true })
  const home = await openHome(options.folder)
  const [port, logins, authority] = [
    await portOf(options, name),
    await openLogins(options.folder),
    await openAuthority(join(options.folder, 'tls'), `Tenantry ${name}`),
  ]
  const files = await authority.issue('server', { name: HOST, hosts: [HOST, 'localhost', '::1'] })
  await initialise(home, logins.superuser, options)
  await handOver(home, files.certificateFile, 'server.crt')
  await handOver(home, files.keyFile, 'server.key')
  await writeOwned(home, 'pg_hba.conf', accessRules(options.requireTls ?? true))
  await forgetForeignProcess(home)
  const secured =
    options.tls === false ? 'sslmode=disable' : `sslmode=verify-full&sslrootcert=${encodeURIComponent(authority.certificateFile)}`
  const urlOf = (user: string, password: string) => `postgres://${user}:${password}@${HOST}:${port}/postgres?${secured}`
  const superuserUrl = urlOf(SUPERUSER, logins.superuser)
  const start = () =>
    ensureRunning({
      name,
      command: home.binaries.postgres,
      args: ['-D', join(home.folder, 'data'), ...settingsOf(home.folder, port, options)],
      user: home.user,
      folder: options.folder,
      logFile: logOf(options, name),
      healthy: () => ensureAdmin(superuserUrl, logins.admin),
      startMs: 120_000,
      // Fast shutdown: sessions are ended, everything is written.
      stopSignal: 'SIGINT',
      signal: options.signal,
    })
  const server = await retryWhileOldOnesEnd(start)
  return {
    ...server,
    host: HOST,
    port,
    ca: authority.certificate,
    adminUser: ADMIN,
    adminPassword: logins.admin,
    adminUrl: urlOf(ADMIN, logins.admin),
    superuserUrl,
  }
}

/** Removes what a Postgres has kept for `folder`, wherever it stands. The server must have been stopped. */
export async function removePostgres(folder: string): Promise<void> {
  const user = await findUnprivilegedUser()
  if (user !== undefined) await rm(await reachableFolder(folder, user), { recursive: true, force: true })
  await rm(folder, { recursive: true, force: true })
}

async function openHome(folder: string): Promise<Home> {
  const user = await findUnprivilegedUser()
  if (user === undefined) return { folder, user, binaries: await findPostgres() }
  const home = await reachableFolder(folder, user)
  await mkdir(join(home, 'data.new'), { recursive: true })
  await chown(join(home, 'data.new'), user.uid, user.gid)
  return { folder: home, user, binaries: await findPostgres(user) }
}

/** Makes the cluster aside and renames it: one that was interrupted half way is never taken for a whole one. */
async function initialise({ folder, user, binaries }: Home, password: string, options: PostgresOptions): Promise<void> {
  const data = join(folder, 'data')
  if ((await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => '')) !== '') return
  const fresh = join(folder, 'data.new')
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh, { recursive: true, mode: 0o700 })
  if (user !== undefined) await chown(fresh, user.uid, user.gid)
  const passwordFile = join(folder, 'initdb.password')
  await writeFile(passwordFile, password, { mode: 0o600 })
  if (user !== undefined) await chown(passwordFile, user.uid, user.gid)
  const flags = [
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
  ]
  try {
    await run(binaries.initdb, ['-D', fresh, ...flags, ...(options.durable === false ? ['--no-sync'] : [])], {
      user,
      signal: options.signal,
    })
  } finally {
    await rm(passwordFile, { force: true })
  }
  await rename(fresh, data)
}

function settingsOf(folder: string, port: number, options: PostgresOptions): string[] {
  const settings: Record<string, string> = {
    listen_addresses: HOST,
    port: String(port),
    unix_socket_directories: '',
    hba_file: join(folder, 'pg_hba.conf'),
    ssl: options.tls === false ? 'off' : 'on',
    ssl_cert_file: join(folder, 'server.crt'),
    ssl_key_file: join(folder, 'server.key'),
    max_connections: '200',
    log_line_prefix: '%m [%p] %u@%d ',
    ...(options.durable === false ? { fsync: 'off', full_page_writes: 'off' } : {}),
  }
  return Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])
}

function accessRules(requireTls: boolean): string {
  return `${requireTls ? 'hostssl' : 'host'} all all ${HOST}/32 scram-sha-256\n`
}

/** Sees to the admin login; true shows at the same time that the server serves. */
async function ensureAdmin(superuserUrl: string, password: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: superuserUrl, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  await client.connect()
  try {
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [ADMIN])
    if (rowCount === 0) await client.query(`CREATE ROLE ${ADMIN} LOGIN CREATEROLE CREATEDB PASSWORD ${pg.escapeLiteral(password)}`)
    return true
  } finally {
    await client.end()
  }
}

/**
 * Postgres refuses to start while the process named in postmaster.pid lives. After a crash that number may belong to any other
 * program: then, and only then, the file is removed. All else (also the shared memory of sessions that still end) Postgres checks better.
 */
async function forgetForeignProcess({ folder }: Home): Promise<void> {
  const file = join(folder, 'data', 'postmaster.pid')
  const pid = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10)
  if (!(pid > 0)) return
  const { stdout } = await run('ps', ['-o', 'args=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  if (stdout.trim() !== '' && !stdout.includes(join(folder, 'data'))) await rm(file, { force: true })
}

/** Sessions of a server that was killed need a moment to notice; until then their shared memory keeps the next one out. */
async function retryWhileOldOnesEnd(start: () => Promise<Server>): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start()
    } catch (error) {
      const passing = error instanceof StartError && error.lastLines.some((line) => FOREIGN_MEMORY.test(line))
      if (!passing || attempt === 20) throw error
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}

async function openLogins(folder: string): Promise<Logins> {
  const file = join(folder, 'logins.json')
  const before = await readFile(file, 'utf8').catch(() => undefined)
  if (before !== undefined) return JSON.parse(before)
  const logins = { admin: randomBytes(24).toString('hex'), superuser: randomBytes(24).toString('hex') }
  await writeFile(`${file}.new`, JSON.stringify(logins), { mode: 0o600 })
  await rename(`${file}.new`, file)
  return logins
}

async function handOver(home: Home, from: string, name: string): Promise<void> {
  const to = join(home.folder, name)
  await rm(to, { force: true })
  await copyFile(from, to)
  await chmod(to, 0o600)
  if (home.user !== undefined) await chown(to, home.user.uid, home.user.gid)
}

async function writeOwned(home: Home, name: string, text: string): Promise<void> {
  const file = join(home.folder, name)
  await writeFile(file, text, { mode: 0o644 })
  if (home.user !== undefined) await chown(file, home.user.uid, home.user.gid)
}
