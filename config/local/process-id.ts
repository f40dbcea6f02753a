import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

/** One process of this machine. The start time tells it from a later process that was given the same number. */
export type ProcessId = { pid: number; started: string }

/** The identity of the process that has this number now; undefined when there is none, or only its remains (a zombie). */
export async function identify(pid: number): Promise<ProcessId | undefined> {
  const started = process.platform === 'linux' ? await startedOnLinux(pid) : await startedByPs(pid)
  return started === undefined ? undefined : { pid, started }
}

/** True while that very process runs. */
export async function isAlive(id: ProcessId): Promise<boolean> {
  return (await identify(id.pid))?.started === id.started
}

/** Sends a signal to that process, or to its whole group; nothing happens when it is gone. */
export async function send(id: ProcessId, signal: NodeJS.Signals, to: 'process' | 'group' = 'process'): Promise<void> {
  if (!(await isAlive(id))) return
  try {
    process.kill(to === 'group' ? -id.pid : id.pid, signal)
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ESRCH'
}

async function startedOnLinux(pid: number): Promise<string | undefined> {
  try {
    const [stat, boot] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile('/proc/sys/kernel/random/boot_id', 'utf8')])
    // The name in parentheses may hold anything, so the fields are counted from its end (proc(5): state is the third, starttime the 22nd).
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${boot.trim()}/${fields[19]}`
  } catch {
    return undefined
  }
}

async function startedByPs(pid: number): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], { env: { ...process.env, LC_ALL: 'C' } })
    const [state, ...time] = stdout.trim().split(/\s+/)
    return state === undefined || state === '' || state.startsWith('Z') ? undefined : time.join(' ')
  } catch {
    return undefined
  }
}
