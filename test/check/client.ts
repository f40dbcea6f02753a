import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { clientTypes } from './client-types.ts'

const FILE = join(import.meta.dirname, '..', 'client', 'api.ts')

/** What is wrong with the client's types: they are not those of the API as it is. */
export async function clientFaults(): Promise<string[]> {
  return (await readFile(FILE, 'utf8')) === (await currentTypes())
    ? []
    : ['test/client/api.ts is not of the API as it is: run `make client`']
}

async function currentTypes(): Promise<string> {
  return clientTypes(JSON.parse(await readDocument()))
}

/** Starts the runtime with no tenant and no server to lean on, and asks it what it offers. */
async function readDocument(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-client-'))
  const runtime = spawn(process.execPath, ['runtime/main.ts'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      TENANTRY_PORT: '0',
      TENANTRY_METRICS_PORT: '0',
      TENANTRY_EVENTS: 'off',
      TENANTRY_ROUTING_FOLDER: folder,
      TENANTRY_CREDENTIALS_FOLDER: folder,
    },
  })
  try {
    for await (const line of createInterface({ input: runtime.stdout })) {
      const { msg, port } = JSON.parse(line)
      if (msg === 'listening') return await (await fetch(`http://127.0.0.1:${port}/openapi.json`)).text()
    }
    throw new Error('the runtime does not start')
  } finally {
    const ended = runtime.exitCode === null ? once(runtime, 'exit') : undefined
    runtime.kill('SIGKILL')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await writeFile(FILE, await currentTypes())
