import type { Bench, Rounds } from './figures.ts'
import { limitOf } from './limit.ts'
import { type Load, loadFor } from './load.ts'
import { type Program, startServer } from './program.ts'
import { NEW_TASK } from './task.ts'
import { type BenchTenant, startWorld, type World } from './world.ts'

type Requests = (tenant: BenchTenant) => Load['callers'][number]['requests']

const CONNECTIONS = 50
/** 20 callers for each tenant: as many as it takes until neither side gets faster. */
const MANY_CONNECTIONS = 200
const SECONDS = 5

/** A task by its id over HTTP, with the caches off. */
export const tenantRead: Bench = {
  name: 'tenant-read',
  unit: 'req/s',
  target: { atLeast: 2.5 },
  measure: (rounds) => compare(rounds, 'read', ({ tasks }) => tasks.map((id) => ({ method: 'GET', path: `/v1/tasks/${id}` }))),
}

/** A new task over HTTP: its row, its event, and for ours the head, the relay and the projection too. */
export const command: Bench = {
  name: 'command',
  unit: 'req/s',
  target: { atLeast: 2 },
  measure: (rounds) => compare(rounds, 'create', CREATE, MANY_CONNECTIONS),
}

/** The same with five callers for each tenant: fewer commands wait for each other, and fewer share a commit. */
export const commandFew: Bench = {
  name: 'few-commands',
  unit: 'req/s',
  target: { atLeast: 1 },
  measure: (rounds) => compare(rounds, 'create', CREATE),
}

const CREATE: Requests = () => [{ method: 'POST', path: '/v1/tasks', body: JSON.stringify(NEW_TASK) }]

async function compare(count: number, line: 'read' | 'create', requests: Requests, connections = CONNECTIONS): Promise<Rounds> {
  const world = await startWorld()
  const ours = await startRuntime(world)
  const peer = await startServer('test/bench/peer.ts', [world.file], {})
  try {
    await sameAnswer(ours, peer, world)
    const rounds: Rounds = { ours: [], limit: [], peers: { 'express + pg.Pool': [] } }
    const load = (server: Program, tenants: BenchTenant[], seconds = SECONDS) =>
      loadFor({
        url: server.url,
        connections,
        seconds,
        callers: tenants.map((t) => ({ token: t.token, requests: requests(t) })),
      })
    await load(ours, world.ours, 2)
    await load(peer, world.peers, 2)
    for (let round = 0; round < count; round++) {
      rounds.peers['express + pg.Pool']?.push(await load(peer, world.peers))
      rounds.ours.push(await load(ours, world.ours))
      rounds.limit.push(await limitOf({ world: world.file, line, inFlight: connections, seconds: SECONDS }))
    }
    return rounds
  } finally {
    await Promise.all([ours.stop(), peer.stop()])
    await world.stop()
  }
}

/** Starts the runtime on the world's routing folder, without caches unless told so and, as the peers, without a log line for each request. */
export function startRuntime(world: World, settings: Record<string, string> = {}): Promise<Program> {
  return startServer('runtime/main.ts', [], {
    TENANTRY_PORT: '0',
    TENANTRY_METRICS_PORT: '0',
    TENANTRY_ROUTING_FOLDER: world.routingFolder,
    TENANTRY_CREDENTIALS_FOLDER: world.credentialsFolder,
    TENANTRY_NATS_URL: world.nats,
    TENANTRY_CACHE: 'off',
    TENANTRY_DRAIN_WAIT_MS: '0',
    TENANTRY_ACCESS_LOG: 'off',
    ...settings,
  })
}

// Two servers are only compared when they do the same: the answers are equal but for ids and times.
async function sameAnswer(ours: Program, peer: Program, world: World): Promise<void> {
  const [a, b] = await Promise.all([answer(ours, world.ours[0]), answer(peer, world.peers[0])])
  if (a !== b) throw new Error(`the servers answer differently:\n${a}\n${b}`)
}

async function answer({ url }: Program, tenant: BenchTenant | undefined): Promise<string> {
  const response = await fetch(`${url}/v1/tasks/${tenant?.tasks[0]}`, { headers: { 'x-api-key': tenant?.token ?? '' } })
  const body = (await response.text()).replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT[\d:.]+Z/g, '…')
  return `${response.status} ${response.headers.get('etag')} ${JSON.stringify(Object.entries(JSON.parse(body)).sort())}`
}
