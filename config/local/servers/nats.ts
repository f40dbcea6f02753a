import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findNats } from '../binaries.ts'
import { ensureRunning, type Server } from '../processes.ts'
import { exchange } from './probe.ts'
import { HOST, logOf, portOf, type ServerOptions } from './server.ts'

/** A running NATS server. */
export type NatsServer = Server & { host: string; port: number; url: string }

/** Starts NATS with JetStream, its streams on disk in the folder. Throws StartError. */
export async function startNats(options: ServerOptions): Promise<NatsServer> {
  const name = options.name ?? 'nats'
  await mkdir(options.folder, { recursive: true })
  const port = await portOf(options, name)
  const settings = join(options.folder, `${name}.json`)
  await writeFile(settings, JSON.stringify(settingsOf(options.folder, port, name), undefined, 2))
  const server = await ensureRunning({
    name,
    command: await findNats({ signal: options.signal }),
    args: ['--config', settings],
    folder: options.folder,
    logFile: logOf(options, name),
    edition: String(port),
    // The greeting comes once JetStream has been restored.
    healthy: async () => (await exchange(port)).includes('"jetstream":true'),
    startMs: 30_000,
    signal: options.signal,
  })
  return { ...server, host: HOST, port, url: `nats://${HOST}:${port}` }
}

function settingsOf(folder: string, port: number, name: string): object {
  return {
    server_name: name,
    listen: `${HOST}:${port}`,
    jetstream: { store_dir: join(folder, 'jetstream'), max_memory_store: 67_108_864, max_file_store: 2_147_483_648 },
  }
}
