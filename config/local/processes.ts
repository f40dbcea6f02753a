import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { endWithMe } from './guard.ts'
import { sizeOf, tail } from './log-file.ts'
import { identify, isAlive, type ProcessId, send } from './process-id.ts'
import { until } from './wait.ts'

/** A user of this machine. */
export type User = { uid: number; gid: number }

/** How one server process is started, and how one sees that it serves. */
export type Launch = {
  name: string
  command: string
  args: readonly string[]
  /** Where the record of the running process stands, as `<name>.pid`. */
  folder: string
  logFile: string
  /** Added to this process's environment, of which Tenantry's own settings are not handed on. */
  env?: Readonly<Record<string, string>>
  /** Stands for what the process runs besides its command line (its sources): when it differs, the process is started anew. */
  edition?: string
  user?: User | undefined
  /** Asked until it says true; an error counts as "not yet" and its message is kept for the report. */
  healthy: () => Promise<boolean>
  startMs?: number
  stopSignal?: NodeJS.Signals
  stopMs?: number
  signal?: AbortSignal | undefined
}

/** A running server. `stop` ends it cleanly and, when it takes too long, by force; `kill` sends a signal and, when that ends processes, waits for the end. */
export type Server = { pid: number; found: boolean; stop(): Promise<void>; kill(signal: NodeJS.Signals): Promise<void> }

type Started = { record: PidRecord; ending: () => Promise<string> }
type PidRecord = ProcessId & { fingerprint: string; stopSignal: NodeJS.Signals; stopMs: number }

/** A server did not come up: why, where its log is, and the last lines of it. */
export class StartError extends Error {
  /** Why, without the name. */
  readonly reason: string
  readonly logFile: string
  readonly lastLines: readonly string[]

  constructor(name: string, reason: string, logFile: string, lastLines: readonly string[]) {
    super(`${name} ${reason}`)
    this.name = 'StartError'
    this.reason = reason
    this.logFile = logFile
    this.lastLines = lastLines
  }
}

/**
 * Sees to it that the process runs and serves: one that was started earlier with the same command is found again, one with
 * another command is replaced. It ends together with this process (guard.ts). Throws StartError.
 */
export async function ensureRunning(launch: Launch): Promise<Server> {
  const before = await readRecord(launch.folder, launch.name)
  const fingerprint = fingerprintOf(launch)
  if (before !== undefined && (await isAlive(before))) {
    if (before.fingerprint === fingerprint && (await answers(launch, before))) return serverOf(launch, before, true)
    await end(before)
  }
  const offset = await sizeOf(launch.logFile)
  const { record, ending } = await startProcess(launch, fingerprint, offset)
  const fault = await waitUntilHealthy(launch, record, ending)
  if (fault === undefined) return serverOf(launch, record, false)
  await end(record)
  throw new StartError(launch.name, fault, launch.logFile, await tail(launch.logFile, 15, offset))
}

/** Ends the process recorded under that name in that folder, if it runs. Returns whether it did. */
export async function stopRecorded(folder: string, name: string): Promise<boolean> {
  const record = await readRecord(folder, name)
  const alive = record !== undefined && (await isAlive(record))
  if (alive) await end(record)
  await rm(recordFile(folder, name), { force: true })
  return alive
}

/** The process recorded under that name in that folder, when it runs. */
export async function findRecorded(folder: string, name: string): Promise<ProcessId | undefined> {
  const record = await readRecord(folder, name)
  return record !== undefined && (await isAlive(record)) ? record : undefined
}

async function startProcess(launch: Launch, fingerprint: string, offset: number): Promise<Started> {
  launch.signal?.throwIfAborted()
  await Promise.all([mkdir(launch.folder, { recursive: true }), mkdir(dirname(launch.logFile), { recursive: true })])
  const log = await open(launch.logFile, 'a')
  try {
    const child = spawn(launch.command, launch.args, {
      // A session of its own: a Ctrl-C at the terminal reaches the one who started it, and that one ends all in the right order.
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { ...withoutSettings(process.env), ...launch.env },
      cwd: '/',
      ...launch.user,
    })
    const exited = new Promise((resolve) => child.once('exit', resolve))
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    child.once('spawn', () => resolve(child.pid ?? 0))
    child.once('error', reject)
    const pid = await promise
    child.unref()
    const ending = async () => {
      // The process is gone a moment before Node tells with which code.
      await Promise.race([exited, sleep(1_000)])
      return `ended while it was starting, with ${child.signalCode ?? `code ${child.exitCode ?? 'unknown'}`}`
    }
    const id = (await identify(pid)) ?? { pid, started: 'gone' }
    endWithMe(id)
    const record = { ...id, fingerprint, stopSignal: launch.stopSignal ?? 'SIGTERM', stopMs: launch.stopMs ?? 20_000 }
    await writeRecord(launch.folder, launch.name, record)
    return { record, ending }
  } catch (error) {
    throw new StartError(launch.name, `cannot be started: ${messageOf(error)}`, launch.logFile, await tail(launch.logFile, 15, offset))
  } finally {
    await log.close()
  }
}

async function waitUntilHealthy(launch: Launch, record: PidRecord, ending: () => Promise<string>): Promise<string | undefined> {
  let last = ''
  const ask = async (): Promise<'healthy' | 'gone' | false> => {
    if (!(await isAlive(record))) return 'gone'
    try {
      return (await launch.healthy()) ? 'healthy' : false
    } catch (error) {
      last = messageOf(error)
      return false
    }
  }
  try {
    const answer = await until(ask, { deadlineMs: launch.startMs ?? 60_000, signal: launch.signal })
    if (answer === 'healthy') return undefined
    return answer === 'gone' ? await ending() : `does not answer${last === '' ? '' : `: ${last}`}`
  } catch (error) {
    await end(record)
    throw error
  }
}

/** A process that was found may be the right one and be stuck: it has a short while to show that it serves. */
async function answers(launch: Launch, record: PidRecord): Promise<boolean> {
  return (await waitUntilHealthy({ ...launch, startMs: 5_000 }, record, async () => 'ended')) === undefined
}

function serverOf(launch: Launch, record: PidRecord, found: boolean): Server {
  return {
    pid: record.pid,
    found,
    stop: async () => {
      await stopRecorded(launch.folder, launch.name)
    },
    kill: async (signal) => {
      await send(record, signal)
      if (signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT') await untilGone(record, 30_000)
    },
  }
}

async function end(record: PidRecord): Promise<void> {
  await send(record, record.stopSignal)
  if (await untilGone(record, record.stopMs)) return
  await send(record, 'SIGKILL', 'group')
  await untilGone(record, 10_000)
}

async function untilGone(id: ProcessId, deadlineMs: number): Promise<boolean> {
  return (await until(async () => !(await isAlive(id)), { deadlineMs, everyMs: 10 })) ?? false
}

function fingerprintOf({ command, args, env, user, edition }: Launch): string {
  return createHash('sha256').update(JSON.stringify({ command, args, env, user, edition })).digest('hex').slice(0, 16)
}

function recordFile(folder: string, name: string): string {
  return join(folder, `${name}.pid`)
}

async function writeRecord(folder: string, name: string, record: PidRecord): Promise<void> {
  const file = recordFile(folder, name)
  await writeFile(`${file}.new`, JSON.stringify(record))
  await rename(`${file}.new`, file)
}

async function readRecord(folder: string, name: string): Promise<PidRecord | undefined> {
  try {
    return JSON.parse(await readFile(recordFile(folder, name), 'utf8'))
  } catch {
    return undefined
  }
}

function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('TENANTRY_')))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
