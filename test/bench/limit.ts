import { readFile } from 'node:fs/promises'
import { createLog } from '../../config/log.ts'
import { SCOPES } from '../../config/routing.ts'
import { createCommandBus } from '../../runtime/commands/bus.ts'
import { CreateTask } from '../../runtime/features/tasks/commands.ts'
import { GetTask } from '../../runtime/features/tasks/queries.ts'
import { DEFAULT_SESSION } from '../../runtime/shards/endpoint.ts'
import { createSession, type Session } from '../../runtime/shards/session.ts'
import { runToEnd } from './program.ts'
import { NEW_TASK } from './task.ts'
import type { BenchTenant, World } from './world.ts'

/** What to repeat without HTTP in front of it. */
export type Limit = { world: string; line: 'read' | 'create'; inFlight: number; seconds: number }

type Work = (tenant: BenchTenant, turn: number) => Promise<unknown>

/** The same statements through the same session, without HTTP: times a second, in a process of its own. */
export async function limitOf(limit: Limit): Promise<number> {
  return Number(await runToEnd(import.meta.filename, limit))
}

function openSession(world: World): Session {
  return createSession({
    endpoint: () => world.shard,
    credentials: () => world.credentials,
    settings: DEFAULT_SESSION,
    log: createLog('runtime', 'silent'),
  })
}

function workOf(line: Limit['line'], session: Session): Work {
  const { signal } = new AbortController()
  const bus = createCommandBus({ session, commands: [CreateTask], onCommit: () => undefined })
  const scopes = new Set(SCOPES)
  const input = CreateTask.input.parse(NEW_TASK)
  return line === 'read'
    ? ({ route, tasks }, turn) =>
        session.read({ uid: route.uid, route }, GetTask.statement(route.uid, { id: tasks[turn % tasks.length] ?? '' }))
    : ({ route }) =>
        bus.execute({ id: route.id, uid: route.uid, route, caller: 'key:bench', scopes, requestId: '-' }, CreateTask.name, input, {
          signal,
        })
}

async function repeat({ world: file, line, inFlight, seconds }: Limit): Promise<number> {
  const world: World = JSON.parse(await readFile(file, 'utf8'))
  const session = openSession(world)
  const work = workOf(line, session)
  let done = 0
  const until = performance.now() + seconds * 1000
  const loop = async (_: unknown, index: number): Promise<void> => {
    const tenant = world.ours[index % world.ours.length]
    for (let turn = index; tenant !== undefined && performance.now() < until; turn++) {
      await work(tenant, turn)
      done += 1
    }
  }
  await Promise.all(Array.from({ length: inFlight }, loop))
  await session.close()
  return done / seconds
}

if (import.meta.main) console.log(await repeat(JSON.parse(process.argv[2] ?? '')))
