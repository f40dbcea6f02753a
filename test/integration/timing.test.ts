import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { CommandBus } from '../../runtime/commands/bus.ts'
import type { Session } from '../../runtime/shards/session.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { attempt, type Line, lineOn, logIn } from '../builders/attacker.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { ask, busOn, command, sessionOn } from '../builders/runtime.ts'

/** Something that is done with an id, of which only the time matters. */
type Way = (id: string) => Promise<unknown>

const PAIRS = 500
const WARM_UP = 50
/**
 * How far from a half the share of pairs may be in which the one id took longer than the other. A coin says which goes first, so that by
 * chance it strays by 0.022 (a standard deviation), whatever the machine does beside: six times that is no chance.
 */
const BOUND = 0.13

describe.for(ISOLATIONS)('isolation %s', (isolation) => {
  let database: TestDatabase
  let mine: TenantContext
  let session: Session
  let bus: CommandBus
  let line: Line
  /** Tasks and users of the neighbour, and ids beside them that nobody has. */
  let taken: string[]
  let users: string[]

  beforeAll(async () => {
    database = await createDatabase(inject('postgres'))
    mine = await database.tenant('acme', isolation)
    const theirs = await database.tenant('globex', isolation)
    session = sessionOn(database)
    bus = busOn(session)
    line = lineOn(await logIn(database, mine.route.role, mine.route.database))
    const make = async (name: string, inputOf: (number: number) => object) => {
      const ids: string[] = []
      for (let number = 0; number < 20; number++) {
        await command(bus, mine, name, inputOf(number))
        ids.push((await command(bus, theirs, name, inputOf(number))).id)
      }
      return ids
    }
    taken = await make('CreateTask', (number) => ({ title: `task ${number}` }))
    users = await make('RegisterUser', (number) => ({ email: `user${number}@example.org`, displayName: 'User' }))
  })
  afterAll(async () => {
    await line?.client.end()
    await session?.close()
    await database?.drop()
  })

  const insert = (id: string) =>
    `INSERT INTO "${mine.route.schema}".tasks SELECT '${mine.uid}', '${id}', 'x', NULL, 'low', 'pending', '{}', NULL, NULL, 1, 1, now(), now(), NULL`
  const refused: (name: string, raw: (id: string) => object) => Way = (name, raw) => (id) =>
    command(bus, mine, name, raw(id)).then(
      () => expect.unreachable(),
      () => undefined,
    )
  const injected: (text: (id: string) => string) => Way = (text) => (id) => attempt(line, mine, [text(id), 'ROLLBACK'])

  const ways: [string, () => string[], Way][] = [
    ['a command', () => taken, refused('UpdateTask', (id) => ({ id, title: 'x' }))],
    ['a query', () => taken, (id) => ask(session, mine, 'GetTask', { id })],
    ['a reference', () => users, refused('CreateTask', (assignee) => ({ title: 'x', assignee }))],
    ['an injected SELECT', () => taken, injected((id) => `SELECT title FROM "${mine.route.schema}".tasks WHERE id = '${id}'`)],
    ['an injected INSERT', () => taken, injected(insert)],
  ]

  test.each(ways)(
    'PG-05: whether a neighbour has an id cannot be told from the time of %s',
    { timeout: 60_000 },
    async (name, ids, way) => {
      const { share, ms } = await compare(way, ids())
      printFigure(
        `PG-05: isolation ${isolation}, ${name}: an id of a neighbour took longer than a missing one in ${(share * 100).toFixed(1)} % of ${PAIRS} pairs, medians ${ms.join(' and ')} ms`,
      )
      expect(Math.abs(share - 0.5)).toBeLessThan(BOUND)
    },
  )

  test('PG-05: what takes two looks more at an id that a neighbour has would be told', { timeout: 60_000 }, async () => {
    const look: Way = (id) => ask(session, mine, 'GetTask', { id })
    const { share, ms } = await compare(async (id) => {
      await look(id)
      // Where single looks take wildly different times, three still take longer than one in three pairs of four.
      if (taken.includes(id)) for (let more = 0; more < 2; more++) await look(id)
    }, taken)
    printFigure(
      `PG-05: isolation ${isolation}, a planted leak: ${(share * 100).toFixed(1)} % of ${PAIRS} pairs, medians ${ms.join(' and ')} ms`,
    )
    expect(share - 0.5).toBeGreaterThan(BOUND)
  })
})

/** An id that nobody has, in the place of the index where that one is. */
const beside = (id: string) => id.slice(0, -12) + randomUUID().slice(-12)

/** In how many of the pairs the id that is taken took longer than a missing one right before or after it, and the medians of both in milliseconds. */
async function compare(way: Way, taken: readonly string[]): Promise<{ share: number; ms: string[] }> {
  const ids = taken.map((id) => [id, beside(id)] as const)
  const time = async (id: string) => {
    const since = performance.now()
    await way(id)
    return performance.now() - since
  }
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < PAIRS + WARM_UP; round++) {
    const [there, missing] = ids[round % ids.length] ?? ['', '']
    const first = Math.random() < 0.5 ? await time(missing) : undefined
    const pair = [await time(there), first ?? (await time(missing))] as const
    if (round >= WARM_UP) for (const side of [0, 1] as const) times[side].push(pair[side])
  }
  const [there, missing] = times
  const longer = there.filter((ms, pair) => ms > (missing[pair] ?? 0)).length
  return { share: longer / PAIRS, ms: times.map((side) => (side.toSorted((a, b) => a - b)[PAIRS / 2] ?? 0).toFixed(2)) }
}
