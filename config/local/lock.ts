import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { identify, isAlive, type ProcessId } from './process-id.ts'
import { until } from './wait.ts'

/** How long a lock may be waited for, and what is told (once) when it has to be. */
export type LockOptions = { deadlineMs: number; onWait?: (holder: number) => void; signal?: AbortSignal | undefined }

/** Does `work` while no other process does work under the same lock file. A lock whose holder has died is taken over. Throws when the deadline passes. */
export async function withLock<T>(file: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true })
  let told = false
  const taken = await until(
    async () => {
      const holder = await take(file)
      if (holder === undefined) return true
      if (!told) options.onWait?.(holder.pid)
      told = true
      return false
    },
    { deadlineMs: options.deadlineMs, everyMs: 200, signal: options.signal },
  )
  if (taken !== true) throw new Error(`process ${(await read(file))?.pid} holds ${file}: wait for it, or end it`)
  try {
    return await work()
  } finally {
    await rm(file, { force: true })
  }
}

/** Takes the lock, or tells who has it. A link is made by one process only, and the file has its content from the start. */
async function take(file: string): Promise<ProcessId | undefined> {
  const own = `${file}.${process.pid}`
  await writeFile(own, JSON.stringify(await identify(process.pid)))
  try {
    await link(own, file)
    return undefined
  } catch {
    const holder = await read(file)
    if (holder !== undefined && (await isAlive(holder))) return holder
    // Whoever renames it first has removed the dead one's lock; the next round decides who gets the new one.
    await rename(file, `${own}.stale`).catch(() => {})
    await rm(`${own}.stale`, { force: true })
    return holder ?? { pid: 0, started: '' }
  } finally {
    await rm(own, { force: true })
  }
}

async function read(file: string): Promise<ProcessId | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch {
    return undefined
  }
}
