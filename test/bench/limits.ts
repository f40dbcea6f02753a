import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeWithMe } from '../../config/local/guard.ts'
import { startRedis } from '../../config/local/servers/redis.ts'
import type { Bench, Rounds } from './figures.ts'
import { loadFor } from './load.ts'
import type { Program } from './program.ts'
import { startRuntime } from './requests.ts'
import { startWorld, type World } from './world.ts'

const CONNECTIONS = 50
const SECONDS = 5
const PEER = 'limits off'

/** So high that nothing is refused: what is measured is the looking. */
export const HIGH_LIMITS = {
  statementMs: 4_000,
  lockMs: 4_000,
  idleInTransactionMs: 10_000,
  requestsPerSecond: 50_000,
  burst: 100_000,
  concurrency: 10_000,
}

/** Tasks by their ids out of the cache in memory, over HTTP, with limits of requests and without. */
export const limitsOverhead: Bench = { name: 'limits-overhead', unit: 'req/s', target: { atLeast: 0.9 }, measure }

async function measure(count: number): Promise<Rounds> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-bench-'))
  removeWithMe(folder)
  const [world, redis] = [await startWorld(HIGH_LIMITS), await startRedis({ folder, durable: false })]
  const [on, off] = await Promise.all([start(world, redis.url, 'on'), start(world, redis.url, 'off')])
  try {
    return await compare(count, world, on, off)
  } finally {
    await Promise.all([on.stop(), off.stop()])
    await Promise.all([world.stop(), redis.stop()])
    await rm(folder, { recursive: true, force: true })
  }
}

async function compare(count: number, { ours }: World, on: Program, off: Program): Promise<Rounds> {
  const callers = ours.map(({ token, tasks }) => ({
    token,
    requests: tasks.slice(0, 10).map((id) => ({ method: 'GET' as const, path: `/v1/tasks/${id}` })),
  }))
  const load = ({ url }: Program, seconds = SECONDS) => loadFor({ url, connections: CONNECTIONS, seconds, callers })
  const rounds: Rounds = { ours: [], limit: [], peers: { [PEER]: [] } }
  await load(on, 2)
  await load(off, 2)
  for (let round = 0; round < count; round++) {
    // Each round begins with the other, so that what else the machine does hits both alike.
    const first = round % 2 === 0 ? await load(off) : undefined
    rounds.ours.push(await load(on))
    const without = first ?? (await load(off))
    rounds.peers[PEER]?.push(without)
    rounds.limit.push(without)
  }
  return rounds
}

function start(world: World, redisUrl: string, limits: 'on' | 'off'): Promise<Program> {
  return startRuntime(world, { TENANTRY_CACHE: 'on', TENANTRY_EVENTS: 'off', TENANTRY_REDIS_URL: redisUrl, TENANTRY_LIMITS: limits })
}
