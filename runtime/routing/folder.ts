import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../config/log.ts'
import type { RoutingSink, RoutingSource } from './source.ts'

/** Not every file system tells of changes, and a mount may come late: everything is read again this often, in milliseconds. */
const REREAD = 5_000

/** Routing documents as `<name>.yaml` files and credentials as `<shard>.json` files; changes are seen at once. */
export function folderSource(folders: { documents: string; credentials: string }, log: Log): RoutingSource {
  const watchers: FSWatcher[] = []
  let timer: NodeJS.Timeout | undefined
  let sink: RoutingSink | undefined
  let reading: Promise<void> = Promise.resolve()

  const readAll = async (): Promise<void> => {
    const documents = await readFolder(folders.documents, '.yaml')
    const credentials = await readFolder(folders.credentials, '.json')
    for (const [name, text] of documents) sink?.document(name, text)
    sink?.credentials(credentials)
    sink?.current()
  }
  // One after the other: an older reading must not be told after a newer one.
  const read = (): Promise<void> => {
    reading = reading.catch(() => undefined).then(readAll)
    return reading
  }
  const reread = (): void => {
    read().catch((error: unknown) => log.warn({ error }, 'the routing folder cannot be read; the last good table stays in force'))
  }
  return {
    start: (to) => {
      sink = to
      for (const folder of [folders.documents, folders.credentials]) watchers.push(...follow(folder, reread))
      timer = setInterval(reread, REREAD)
      reread()
    },
    read,
    close: async () => {
      clearInterval(timer)
      for (const watcher of watchers) watcher.close()
      await reading.catch(() => undefined)
      sink = undefined
    },
  }
}

function follow(folder: string, onChange: () => void): FSWatcher[] {
  try {
    return [watch(folder, onChange).on('error', () => undefined)]
  } catch {
    return []
  }
}

async function readFolder(folder: string, ending: string): Promise<Map<string, string>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(ending)).sort()
  const texts = await Promise.all(
    names.map(async (name) => [name.slice(0, -ending.length), await readFile(join(folder, name), 'utf8')] as const),
  )
  return new Map(texts)
}
