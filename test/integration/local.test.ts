import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeWithMe } from '../../config/local/guard.ts'
import { withLock } from '../../config/local/lock.ts'
import { choosePort, findFreePort, isFree } from '../../config/local/ports.ts'
import { identify, isAlive } from '../../config/local/process-id.ts'
import { ensureRunning, findRecorded, StartError, stopRecorded } from '../../config/local/processes.ts'
import { createProgress, StepError } from '../../config/local/progress.ts'
import { removePostgres, startPostgres } from '../../config/local/servers/postgres.ts'
import { startRedis } from '../../config/local/servers/redis.ts'
import { until } from '../../config/local/wait.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-local-'))
  removeWithMe(folder)
})

afterAll(() => removePostgres(join(folder, 'postgres')))

test('a server that runs is found again, with its port', async () => {
  const first = await startRedis({ folder: join(folder, 'found') })
  const second = await startRedis({ folder: join(folder, 'found') })
  expect(second).toMatchObject({ pid: first.pid, port: first.port, found: true })
  await second.stop()
  expect(await findRecorded(join(folder, 'found'), 'redis')).toBeUndefined()
})

test('a server that is wanted on another port is started anew there', async () => {
  const first = await startRedis({ folder: join(folder, 'moved') })
  const port = await findFreePort()
  const second = await startRedis({ folder: join(folder, 'moved'), port })
  expect(second).toMatchObject({ port, found: false })
  expect(await isFree(first.port)).toBe(true)
  await second.stop()
})

test('a process that was given the number of a dead server is not touched', async () => {
  const at = join(folder, 'reused')
  await mkdir(at)
  const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  const id = bystander.pid === undefined ? undefined : await identify(bystander.pid)
  if (id === undefined) throw new Error('the bystander does not run')
  await writeFile(
    join(at, 'redis.pid'),
    JSON.stringify({ pid: id.pid, started: 'before', fingerprint: '', stopSignal: 'SIGTERM', stopMs: 1000 }),
  )
  expect(await stopRecorded(at, 'redis')).toBe(false)
  expect(await isAlive(id)).toBe(true)
  bystander.kill()
})

test('a port that is set and taken is a fault that names it; one that was only remembered is replaced', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const file = join(folder, 'taken.port')
  await expect(choosePort({ name: 'redis', file, wanted: port, ours: false })).rejects.toThrow(
    `port ${port}, which is set for redis, is taken`,
  )
  await writeFile(file, String(port))
  expect(await choosePort({ name: 'redis', file, ours: false })).not.toBe(port)
  other.close()
})

test('a step that fails names itself, the reason, the log and its last lines', async () => {
  const logFile = join(folder, 'broken.log')
  await writeFile(logFile, 'a line of an earlier run\n')
  const launch = {
    name: 'broken',
    command: process.execPath,
    args: ['-e', 'console.error("no such setting"); process.exit(7)'],
    folder,
    logFile,
    healthy: async () => false,
  }
  const progress = createProgress(() => {}, new AbortController().signal)
  const error: unknown = await progress.step('broken', () => ensureRunning(launch)).catch((error: unknown) => error)
  if (!(error instanceof StepError)) throw new Error('no StepError')
  expect(error.report()).toMatch(
    /^broken failed after \d+\.\d s: ended while it was starting, with code 7\n {2}log: .*broken\.log\n {4}no such setting$/,
  )
})

test('a server that never answers is ended, and the report says what it answered', async () => {
  const launch = {
    name: 'deaf',
    command: process.execPath,
    args: ['-e', 'setInterval(() => {}, 1000)'],
    folder,
    logFile: join(folder, 'deaf.log'),
    healthy: () => Promise.reject(new Error('connection refused')),
    startMs: 200,
  }
  await expect(ensureRunning(launch)).rejects.toThrow(
    new StartError('deaf', 'does not answer: connection refused', launch.logFile, []).message,
  )
  expect(await findRecorded(folder, 'deaf')).toBeUndefined()
})

test('a lock is held by one at a time, and a dead holder does not keep it', async () => {
  const file = join(folder, 'lock')
  await writeFile(file, JSON.stringify({ pid: process.pid, started: 'before' }))
  let inside = 0
  let most = 0
  const work = async () => {
    most = Math.max(most, ++inside)
    await new Promise((resolve) => setImmediate(resolve))
    inside--
  }
  await Promise.all([1, 2, 3].map(() => withLock(file, { deadlineMs: 10_000 }, work)))
  expect(most).toBe(1)
})

test('when its starter is killed with -9, a server ends too and its folder goes', async () => {
  const at = await mkdtemp(join(tmpdir(), 'tenantry-orphan-'))
  const source = (file: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, '../../config/local', file)).href)
  const script = `
    const { removeWithMe } = await import(${source('guard.ts')})
    const { startRedis } = await import(${source('servers/redis.ts')})
    removeWithMe(${JSON.stringify(at)})
    const { pid } = await startRedis({ folder: ${JSON.stringify(at)} })
    console.log(pid)
    setInterval(() => {}, 1000)`
  const starter = spawn(process.execPath, ['--input-type=module', '-e', script])
  const [line]: Buffer[] = await once(starter.stdout, 'data')
  const server = await identify(Number(line?.toString()))
  expect(server).toBeDefined()
  starter.kill('SIGKILL')
  const gone = async () => server !== undefined && !(await isAlive(server)) && !(await exists(at))
  expect(await until(gone, { deadlineMs: 10_000 })).toBe(true)
})

test('Postgres comes back on the same folder, port and data after SIGKILL, whatever postmaster.pid says', async () => {
  const options = { folder: join(folder, 'postgres'), durable: false }
  await mkdir(join(options.folder, 'data.new'), { recursive: true })
  await writeFile(join(options.folder, 'data.new', 'half'), 'left by an initdb that was interrupted')
  const first = await startPostgres(options)
  await query(first.superuserUrl, 'CREATE TABLE kept AS SELECT 42 AS value')
  await first.kill('SIGKILL')
  const second = await startPostgres(options)
  expect(second).toMatchObject({ port: first.port, adminPassword: first.adminPassword, ca: first.ca, found: false })
  expect(await query(second.superuserUrl, 'SELECT value FROM kept')).toEqual([{ value: 42 }])
  await second.kill('SIGKILL')
  const lockFile = join(options.folder, 'data', 'postmaster.pid')
  await writeFile(lockFile, (await readFile(lockFile, 'utf8')).replace(/^\d+/, String(process.pid)))
  const third = await startPostgres(options)
  await third.stop()
})

test('Postgres serves TLS that verify-full accepts, nothing without TLS, and an admin that is no superuser', async () => {
  const server = await startPostgres({ folder: join(folder, 'postgres'), durable: false })
  const [role] = await query(server.adminUrl, 'SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user')
  expect(role).toEqual({ rolsuper: false, rolcreaterole: true, rolcreatedb: true })
  const plain = new URL(server.adminUrl)
  plain.search = '?sslmode=disable'
  await expect(query(plain.href, 'SELECT 1')).rejects.toThrow(/no encryption/)
  await server.stop()
})

async function query(connectionString: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

async function exists(path: string): Promise<boolean> {
  return readFile(join(path, 'redis.port')).then(
    () => true,
    () => false,
  )
}
