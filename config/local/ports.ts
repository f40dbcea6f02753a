import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import { until } from './wait.ts'

// Below the ports that kernels hand out to outgoing connections: one of those could take the port of a server that is being restarted.
const LOWEST = 20_000
const HIGHEST = 32_000

/** Where the port of a server comes from: `wanted` by its user, else the one in `file` (used before), else a free one. */
export type PortChoice = { name: string; file: string; wanted?: number | undefined; ours: boolean }

/**
 * Chooses the port of a server and remembers it in `file`. `ours` says that the server runs, so that its port is rightly taken.
 * Throws when a wanted port is taken by another program.
 */
export async function choosePort({ name, file, wanted, ours }: PortChoice): Promise<number> {
  const before = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10)
  if (ours && before > 0 && (wanted ?? before) === before) return before
  const port = wanted ?? (before > 0 && (await becomesFree(before)) ? before : await findFreePort())
  if (wanted !== undefined && !(await becomesFree(wanted))) {
    throw new Error(`port ${wanted}, which is set for ${name}, is taken by another program: end that program or set another port`)
  }
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, String(port))
  return port
}

/** A port of 127.0.0.1 on which nothing listens. */
export async function findFreePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST))
    if (await isFree(port)) return port
  }
}

/** True when a server could listen on that port of 127.0.0.1 now. */
export async function isFree(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const server = createServer()
  server.once('error', () => resolve(false))
  server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  return promise
}

/** The sockets of a server that was killed a moment ago may still be closing. */
async function becomesFree(port: number): Promise<boolean> {
  return (await until(() => isFree(port), { deadlineMs: 2_000, everyMs: 50 })) ?? false
}
