import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { endWithMe, removeWithMe } from '../../config/local/guard.ts'
import { layoutOf, ROWS } from '../../config/local/layout.ts'
import { findRecorded } from '../../config/local/processes.ts'

const run = promisify(execFile)

/** `make up` in a folder of its own, beside whatever runs on this machine. */
export type LocalPlatform = {
  folder: string
  /** What `.tenantry/env` says, as of the last `up`. */
  env: () => Promise<Record<string, string>>
  /** Runs a verb of the local platform as `make` does; gives what it printed. */
  local: (...args: string[]) => Promise<string>
  /** Ends everything and removes the folder. */
  end: () => Promise<void>
}

/** Starts one; nothing is left of one that does not start. */
export async function launchPlatform(): Promise<LocalPlatform> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-e2e-'))
  removeWithMe(folder)
  const layout = layoutOf(folder)
  const local = async (...args: string[]) => {
    const environment = { ...process.env, TENANTRY_FOLDER: folder }
    const { stdout } = await run(process.execPath, ['config/local/main.ts', ...args], { env: environment, maxBuffer: 1 << 26 })
    // What `up` has started outlives it, but not a test run that is broken off.
    for (const record of await Promise.all(ROWS.flat().map((part) => findRecorded(layout.folderOf(part), part))))
      if (record) endWithMe(record)
    return stdout
  }
  const end = async () => {
    await local('clean')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await local('up')
  } catch (error) {
    await end()
    throw error
  }
  return { folder, env: async () => parseEnv(await readFile(join(folder, 'env'), 'utf8')), local, end }
}

/** Reads `export NAME=value` lines, with or without quotes, as `.tenantry/env` has them. */
function parseEnv(text: string): Record<string, string> {
  const lines = [...text.matchAll(/^export ([A-Z_]+)=(.*)$/gm)]
  return Object.fromEntries(lines.map(([, name, value]) => [name, (value ?? '').replace(/^(['"])(.*)\1$/, '$2')]))
}
