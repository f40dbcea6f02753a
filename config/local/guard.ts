import { type ChildProcess, spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { identify, type ProcessId, send } from './process-id.ts'

/**
 * A guard is a small process that outlives the one that started it, by whatever death: when the pipe between them closes, it
 * kills the processes it was told of, last first, and removes the folders. So nothing survives a run that was killed with -9.
 */
type Order = { process: ProcessId } | { folder: string } | { release: true }

let guard: ChildProcess | undefined

/** That process ends when this one does. */
export function endWithMe(id: ProcessId): void {
  tell({ process: id })
}

/** That child ends when this process does, where it has no record of its own. */
export async function endChildWithMe({ pid }: ChildProcess): Promise<void> {
  const id = pid === undefined ? undefined : await identify(pid)
  if (id !== undefined) endWithMe(id)
}

/** That folder is removed when this process has ended, after the processes in it. */
export function removeWithMe(folder: string): void {
  tell({ folder })
}

/** Lets everything that was handed over outlive this process. */
export async function letLive(): Promise<void> {
  const input = guard?.stdin
  if (input === undefined || input === null) return
  tell({ release: true })
  await new Promise<void>((resolve) => input.end(resolve))
}

function tell(order: Order): void {
  guard ??= startGuard()
  guard.stdin?.write(`${JSON.stringify(order)}\n`)
}

function startGuard(): ChildProcess {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url)], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  child.on('error', () => {})
  child.stdin?.on('error', () => {})
  child.unref()
  if (child.stdin !== null && 'unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref()
  return child
}

async function watchOver(): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  const processes = new Map<string, ProcessId>()
  const folders = new Set<string>()
  for await (const line of createInterface({ input: process.stdin })) {
    const order: Order = JSON.parse(line)
    if ('process' in order) processes.set(`${order.process.pid}/${order.process.started}`, order.process)
    else if ('folder' in order) folders.add(order.folder)
    else {
      processes.clear()
      folders.clear()
    }
  }
  // One that leads no group is killed by itself.
  for (const id of [...processes.values()].reverse()) for (const to of ['group', 'process'] as const) await send(id, 'SIGKILL', to)
  // A server that was just killed may still be writing: removal is tried until the folder stays away.
  for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}

if (import.meta.main) await watchOver()
