import { execFile, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Part } from '../../config/local/layout.ts'
import type { Bench, Rounds } from './figures.ts'
import { startPlatform } from './platform.ts'

/** For so long a program is left alone before its memory is looked at, in milliseconds. */
export const SETTLE_MS = 5_000

/** What the runtime holds in memory at rest, all its connections open; the peer and the limit is Node that does nothing. */
export const runtimeMemory = memoryOf('memory-runtime', 'runtime-a', 120)

/** The same of the operator. */
export const operatorMemory = memoryOf('memory-operator', 'operator', 180)

function memoryOf(name: string, part: Part, most: number): Bench {
  return { name, unit: 'MiB', target: { atMost: most, of: 'ours' }, measure: (rounds) => measure(part, rounds) }
}

async function measure(part: Part, count: number): Promise<Rounds> {
  const platform = await startPlatform()
  const idle = spawn(process.execPath, ['--eval', 'setInterval(() => undefined, 1000)'])
  try {
    const rounds: Rounds = { ours: [], limit: [], peers: { 'idle node': [] } }
    for (let round = 0; round < count; round++) {
      await sleep(SETTLE_MS)
      const bare = await residentMiB(idle.pid ?? 0)
      rounds.peers['idle node']?.push(bare)
      rounds.limit.push(bare)
      rounds.ours.push(await residentMiB(await platform.pidOf(part)))
    }
    return rounds
  } finally {
    idle.kill()
    await platform.stop()
  }
}

/** What a process holds in memory. */
export async function residentMiB(pid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
  return Number.parseInt(stdout, 10) / 1024
}
