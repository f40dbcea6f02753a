import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { TestProject } from 'vitest/node'

const run = promisify(execFile)

declare module 'vitest' {
  interface ProvidedContext {
    platform: { folder: string; env: Record<string, string> }
  }
}

/** Vitest global set-up of the end-to-end tests: `make up` in a folder of its own, beside whatever runs on this machine. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-e2e-'))
  const local = (verb: string) =>
    run(process.execPath, ['config/local/main.ts', verb], { env: { ...process.env, TENANTRY_FOLDER: folder }, maxBuffer: 1 << 26 })
  const end = async () => {
    await local('clean')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await local('up')
    project.provide('platform', { folder, env: parseEnv(await readFile(join(folder, 'env'), 'utf8')) })
  } catch (error) {
    await end()
    throw error
  }
  return end
}

/** Reads `export NAME=value` lines, with or without quotes, as `.tenantry/env` has them. */
function parseEnv(text: string): Record<string, string> {
  const lines = [...text.matchAll(/^export ([A-Z_]+)=(.*)$/gm)]
  return Object.fromEntries(lines.map(([, name, value]) => [name, (value ?? '').replace(/^(['"])(.*)\1$/, '$2')]))
}
