import { mkdir } from 'node:fs/promises'
import { findRedis } from '../binaries.ts'
import { ensureRunning, type Server } from '../processes.ts'
import { exchange } from './probe.ts'
import { HOST, logOf, portOf, type ServerOptions } from './server.ts'

/** A running Redis. */
export type RedisServer = Server & { host: string; port: number; url: string }

/** Starts Redis as a cache: nothing is kept on disk. Throws StartError. */
export async function startRedis(options: ServerOptions): Promise<RedisServer> {
  const name = options.name ?? 'redis'
  await mkdir(options.folder, { recursive: true })
  const port = await portOf(options, name)
  const settings = { bind: HOST, port: String(port), dir: options.folder, save: '', appendonly: 'no', daemonize: 'no' }
  const server = await ensureRunning({
    name,
    command: await findRedis(),
    args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]),
    folder: options.folder,
    logFile: logOf(options, name),
    healthy: async () => (await exchange(port, 'PING\r\n')).startsWith('+PONG'),
    startMs: 10_000,
    signal: options.signal,
  })
  return { ...server, host: HOST, port, url: `redis://${HOST}:${port}` }
}
