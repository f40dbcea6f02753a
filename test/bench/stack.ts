import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Bench, Rounds } from './figures.ts'
import { HIGH_LIMITS } from './limits.ts'
import { type Load, loadFor } from './load.ts'
import { type Program, startServer } from './program.ts'
import { startRuntime } from './requests.ts'
import type { Recorded } from './stack-peer.ts'
import { startWorld, type World } from './world.ts'

const CONNECTIONS = 50
const SECONDS = 5

/** A task out of the process's own cache over HTTP, all checks on, against the same bytes sent by node:http alone. */
export const httpStack: Bench = {
  name: 'http-stack',
  unit: 'req/s',
  target: { atLeast: 0.5 },
  measure: (rounds) => compare(rounds, ['node:http', 'express']),
}

/** The same against fastify with the same checks as hooks. */
export const httpStackFastify: Bench = {
  name: 'http-stack-fastify',
  unit: 'req/s',
  target: { atLeast: 0.8 },
  measure: (rounds) => compare(rounds, ['fastify', 'express']),
}

/** The limit is node:http alone: no stack on it is faster. */
async function compare(count: number, peers: readonly string[]): Promise<Rounds> {
  const world = await startWorld(HIGH_LIMITS)
  const ours = await startRuntime(world, { TENANTRY_CACHE: 'on' })
  const file = join(dirname(world.file), 'answers.json')
  await writeFile(file, JSON.stringify(await record(ours, world)))
  const names = [...new Set([...peers, 'node:http'])]
  const servers = new Map<string, Program>()
  try {
    for (const name of names) servers.set(name, await startServer('test/bench/stack-peer.ts', [name, file], {}))
    const rounds: Rounds = { ours: [], limit: [], peers: Object.fromEntries(peers.map((name) => [name, []])) }
    await load(ours, world, 2)
    for (const server of servers.values()) await load(server, world, 2)
    for (let round = 0; round < count; round++) {
      rounds.ours.push(await load(ours, world))
      for (const [name, server] of servers) {
        const perSecond = await load(server, world)
        rounds.peers[name]?.push(perSecond)
        if (name === 'node:http') rounds.limit.push(perSecond)
      }
    }
    return rounds
  } finally {
    await Promise.all([ours, ...servers.values()].map((server) => server.stop()))
    await world.stop()
  }
}

function load({ url }: Program, world: World, seconds = SECONDS): Promise<number> {
  const callers: Load['callers'] = world.ours.map(({ token, tasks }) => ({
    token,
    requests: tasks.map((id) => ({ method: 'GET', path: `/v1/tasks/${id}` })),
  }))
  return loadFor({ url, connections: CONNECTIONS, seconds, callers })
}

/** What the runtime answers, for the peers to answer the same. */
async function record({ url }: Program, { ours }: World): Promise<Recorded> {
  const recorded: Recorded = { answers: {}, keys: {} }
  for (const { route, token, tasks } of ours) {
    for (const { sha256 } of route.keys) recorded.keys[sha256] = route.id
    for (const id of tasks) {
      const path = `/v1/tasks/${id}`
      const answer = await fetch(`${url}${path}`, { headers: { 'x-api-key': token } })
      if (answer.status !== 200) throw new Error(`${path} was answered ${answer.status}`)
      const headers = Object.fromEntries([...answer.headers].filter(([name]) => !HOP_BY_HOP.has(name)))
      recorded.answers[path] = { headers, body: await answer.text() }
    }
  }
  return recorded
}

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'date', 'transfer-encoding'])
