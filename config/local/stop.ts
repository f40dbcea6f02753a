import { readdir, rm } from 'node:fs/promises'
import { type Layout, owned, ROWS, SHARD_NAMES } from './layout.ts'
import { stopRecorded } from './processes.ts'
import type { Progress } from './progress.ts'
import { removePostgres } from './servers/postgres.ts'

/** Stops all parts that run, last started first; data stays. Returns how many ran. A part that fails to stop does not keep the others running. */
export async function stopAll(layout: Layout, progress: Progress): Promise<number> {
  let stopped = 0
  const faults: unknown[] = []
  for (const row of [...ROWS].reverse()) {
    const results = await Promise.allSettled(
      row.map((part) =>
        progress.step(
          part,
          () => stopRecorded(layout.folderOf(part), part),
          (ran) => (ran ? 'stopped' : 'did not run'),
        ),
      ),
    )
    for (const result of results) {
      if (result.status === 'rejected') faults.push(result.reason)
      else if (result.value) stopped++
    }
  }
  if (faults.length > 0) throw faults[0]
  return stopped
}

/** Removes all that the platform has made; its parts must have been stopped. The folder itself goes when nothing else is in it. */
export async function removeAll(layout: Layout): Promise<void> {
  for (const shard of SHARD_NAMES) await removePostgres(layout.folderOf(shard))
  for (const path of owned(layout)) await rm(path, { recursive: true, force: true })
  const left = await readdir(layout.folder).catch(() => [])
  if (left.every((name) => name.startsWith('lock'))) await rm(layout.folder, { recursive: true, force: true })
}
