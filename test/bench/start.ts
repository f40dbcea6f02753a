import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import type { Bench, Rounds } from './figures.ts'
import { startPlatform } from './platform.ts'
import { type Program, startServer } from './program.ts'
import { startRuntime } from './requests.ts'
import { startWorld } from './world.ts'

/** From the start of the process until its readiness probe is answered well; the peer and the limit is Node that does nothing. */
export const runtimeStart: Bench = {
  name: 'start-runtime',
  unit: 's',
  target: { atMost: 1, of: 'ours' },
  measure: async (rounds) => {
    const world = await startWorld()
    return measure(rounds, () => startRuntime(world)).finally(() => world.stop())
  },
}

/** The same of the operator, as one that stands by. */
export const operatorStart: Bench = {
  name: 'start-operator',
  unit: 's',
  target: { atMost: 2, of: 'ours' },
  measure: async (rounds) => {
    const platform = await startPlatform()
    const settings = { KUBECONFIG: platform.kubeconfig, TENANTRY_METRICS_PORT: '0' }
    return measure(rounds, () => startServer('operator/main.ts', [], settings)).finally(() => platform.stop())
  },
}

async function measure(count: number, start: () => Promise<Program>): Promise<Rounds> {
  const rounds: Rounds = { ours: [], limit: [], peers: { 'idle node': [] } }
  // The first fills the cache of what was compiled.
  await secondsOf(() => toReady(start))
  for (let round = 0; round < count; round++) {
    const bare = await secondsOf(() => once(spawn(process.execPath, ['--eval', '0']), 'exit'))
    rounds.peers['idle node']?.push(bare)
    rounds.limit.push(bare)
    rounds.ours.push(await secondsOf(() => toReady(start)))
  }
  return rounds
}

/** Gives when it was ready, and has ended it since. */
async function toReady(start: () => Promise<Program>): Promise<number> {
  const program = await start()
  while (!(await fetch(`${program.url}/health/ready`)).ok) await pause(5)
  const readyAt = performance.now()
  await program.stop()
  return readyAt
}

/** Seconds from now until what `work` gives, a time of performance.now(), or else until its end. */
async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const since = performance.now()
  const until = await work()
  return ((typeof until === 'number' ? until : performance.now()) - since) / 1_000
}
