import { expect, test } from 'vitest'
import { buildRoute } from '../../test/builders/routing.ts'
import type { Ask, Grant } from './lease.ts'
import { createLimiter } from './limiter.ts'

const TIMES = { statementMs: 1_000, lockMs: 1_000, idleInTransactionMs: 1_000 }

/** A clock that stands until it is told, a tenant with limits, and a limiter for it. */
function scene(limits: object, shared?: (ask: Ask) => Promise<Grant>) {
  const clock = { now: 1_000 }
  const route = buildRoute({ limits: { ...TIMES, ...limits } })
  const limiter = createLimiter(shared && ((_, ask) => shared(ask)), () => clock.now)
  const enter = async (caller = 'key:web') => limiter.enter({ uid: route.uid, route, caller })
  const admitted = async (count: number, caller?: string) => {
    let sum = 0
    for (let index = 0; index < count; index++) {
      const { refused, leave } = await enter(caller)
      leave?.()
      if (refused === undefined) sum += 1
    }
    return sum
  }
  return { clock, enter, admitted }
}

test('HT-05: a replica alone lets the burst through at once, and then so many a second', async () => {
  const { clock, admitted, enter } = scene({ requestsPerSecond: 10, burst: 20 })
  expect(await admitted(100)).toBe(20)
  expect(await enter()).toMatchObject({ refused: 'rate', remaining: 0, retryAfter: 1, rate: { perSecond: 10, burst: 20 } })
  clock.now += 1_000
  expect(await admitted(100)).toBe(10)
  clock.now += 60_000
  expect(await admitted(100)).toBe(20)
})

test('HT-05: a burst of one, and a rate without a burst, which is twice the rate', async () => {
  expect(await scene({ requestsPerSecond: 1, burst: 1 }).admitted(10)).toBe(1)
  expect(await scene({ requestsPerSecond: 5 }).admitted(100)).toBe(10)
})

test('a tenant without limits enters freely', async () => {
  const { enter } = scene({})
  expect(await enter()).toEqual({ remaining: 0, retryAfter: 0 })
})

test('HT-05: so many at once, and one more when one has left', async () => {
  const { enter } = scene({ concurrency: 2 })
  const [first] = [await enter(), await enter()]
  expect(await enter()).toMatchObject({ refused: 'concurrency', retryAfter: 1 })
  first?.leave?.()
  expect((await enter()).refused).toBeUndefined()
  expect((await enter()).refused).toBe('concurrency')
})

test('HT-05: of what may be under way at once a replica has its part', async () => {
  const { enter, admitted } = scene({ requestsPerSecond: 100, concurrency: 8 }, async ({ want }) => ({
    granted: want,
    left: 100,
    replicas: 4,
  }))
  await admitted(5)
  const entered = await Promise.all([enter(), enter(), enter()])
  expect(entered.map(({ refused }) => refused)).toEqual([undefined, undefined, 'concurrency'])
})

test('HT-05: a replica that hears nothing any more goes on with its part of what there was', async () => {
  let isAway = false
  const { clock, admitted } = scene({ requestsPerSecond: 40, burst: 40 }, async ({ want, debt }) => {
    if (isAway) throw new Error('away')
    return { granted: want, left: 40 - want - debt, replicas: 4 }
  })
  await admitted(1)
  isAway = true
  clock.now += 5_000
  expect(await admitted(100)).toBeLessThanOrEqual(12)
  clock.now += 1_000
  expect(await admitted(100)).toBeLessThanOrEqual(12)
})

test('what a rest lets through on credit is paid back with the next ask', async () => {
  const asks: Ask[] = []
  const { admitted } = scene({ requestsPerSecond: 100, burst: 100 }, async (ask) => {
    asks.push(ask)
    return { granted: ask.want, left: 50, replicas: 1 }
  })
  expect(await admitted(1)).toBe(1)
  await new Promise((resolve) => setImmediate(resolve))
  expect(asks[0]).toMatchObject({ debt: 1, start: 100 })
})

test('HT-05: a caller who takes most leaves the rest to the others of its tenant, and has everything while it is alone', async () => {
  const alone = scene({ requestsPerSecond: 10, burst: 20 })
  expect(await alone.admitted(100, 'key:greedy')).toBe(20)
  const { clock, admitted, enter } = scene({ requestsPerSecond: 10, burst: 20 })
  expect(await admitted(1, 'key:modest')).toBe(1)
  expect(await admitted(100, 'key:greedy')).toBe(10)
  expect((await enter('key:greedy')).refused).toBe('share')
  expect(await admitted(9, 'key:modest')).toBe(9)
  clock.now += 10_000
  expect(await admitted(100, 'key:greedy')).toBe(20)
})

test('HT-05: who asks in vain is heard as well: what comes next is not for the caller who has taken all', async () => {
  const { clock, admitted } = scene({ requestsPerSecond: 10, burst: 20 })
  expect(await admitted(100, 'key:greedy')).toBe(20)
  expect(await admitted(1, 'key:modest')).toBe(0)
  clock.now += 500
  expect(await admitted(100, 'key:greedy')).toBe(0)
  expect(await admitted(5, 'key:modest')).toBe(5)
})
