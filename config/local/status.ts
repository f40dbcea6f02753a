import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Layout, type Part, ROWS } from './layout.ts'
import { findRecorded } from './processes.ts'

/** How one part stands. */
export type PartStatus = { name: Part; running: boolean; pid?: number; port?: number; log: string }

/** How all parts stand, in starting order. */
export async function statusOf(layout: Layout): Promise<PartStatus[]> {
  return Promise.all(
    ROWS.flat().map(async (name) => {
      const folder = layout.folderOf(name)
      const id = await findRecorded(folder, name)
      const port = Number.parseInt(await readFile(join(folder, `${name}.port`), 'utf8').catch(() => ''), 10)
      return {
        name,
        running: id !== undefined,
        ...(id === undefined ? {} : { pid: id.pid }),
        ...(port > 0 ? { port } : {}),
        log: layout.logOf(name),
      }
    }),
  )
}
