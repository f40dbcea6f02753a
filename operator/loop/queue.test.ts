import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type HandClock, handClock } from '../../test/builders/clock.ts'
import { type Next, type Priority, Queue, type QueueOptions } from './queue.ts'

const REST: Next = { kind: 'rest' }
const FAILED: Next = { kind: 'failed' }

function build(options: Partial<QueueOptions> = {}): { queue: Queue; clock: HandClock } {
  const clock = handClock()
  const backoff = { baseMs: 100, capMs: 10_000, jitter: 0 }
  return { clock, queue: new Queue({ clock, backoff, laneWidth: 2, lane: () => '', wakeMs: 1_000, onReady: () => {}, ...options }) }
}

function takeAll(queue: Queue): string[] {
  const taken: string[] = []
  for (let key = queue.take(); key !== undefined; key = queue.take()) taken.push(key)
  return taken
}

test('a key stands in the queue once, however often it is added', () => {
  const { queue } = build()
  for (let i = 0; i < 3; i++) queue.add('a')
  expect(queue.depth()).toBe(1)
  expect(takeAll(queue)).toEqual(['a'])
})

test('what is added during its pass runs once after it', () => {
  const { queue } = build()
  queue.add('a')
  queue.take()
  queue.add('a')
  queue.add('a')
  expect(queue.take()).toBeUndefined()
  queue.done('a', REST)
  expect(takeAll(queue)).toEqual(['a'])
  queue.done('a', REST)
  expect(takeAll(queue)).toEqual([])
})

test('what was wanted during its pass and is done by its end does not run again, unless somebody else wants it too', () => {
  const { queue } = build()
  let wanted = true
  queue.add('a', 'change', () => wanted)
  queue.take()
  queue.add('a', 'change', () => wanted)
  wanted = false
  queue.done('a', REST)
  expect(takeAll(queue)).toEqual([])
  queue.add('a', 'change', () => wanted)
  expect(takeAll(queue)).toEqual([])
  queue.add('a')
  queue.take()
  queue.add('a', 'change', () => wanted)
  queue.add('a', 'resync')
  queue.done('a', REST)
  expect(takeAll(queue)).toEqual(['a'])
})

test('changes go before resyncs, in the order they came, and a change lifts a key out of the resync', () => {
  const { queue } = build({ laneWidth: 10 })
  for (const key of ['r1', 'r2', 'r3']) queue.add(key, 'resync')
  queue.add('c1')
  queue.add('r2')
  expect(takeAll(queue)).toEqual(['c1', 'r2', 'r1', 'r3'])
})

test('a failing key comes back after a delay that doubles, and a success forgets its failures', async () => {
  const { queue, clock } = build()
  queue.add('a')
  for (const delay of [100, 200, 400]) {
    expect(queue.take()).toBe('a')
    queue.done('a', FAILED)
    await clock.pass(delay - 1)
    expect(queue.take()).toBeUndefined()
    await clock.pass(1)
  }
  expect(queue.take()).toBe('a')
  queue.done('a', REST)
  queue.add('a')
  queue.take()
  queue.done('a', FAILED)
  await clock.pass(100)
  expect(queue.take()).toBe('a')
})

test('a change wakes a failing key, but not sooner than wakeMs after its last pass; a resync does not', async () => {
  const { queue, clock } = build({ backoff: { baseMs: 10_000, capMs: 10_000, jitter: 0 } })
  queue.add('a')
  queue.take()
  queue.done('a', FAILED)
  queue.add('a', 'resync')
  await clock.pass(2_000)
  expect(queue.take()).toBeUndefined()
  queue.add('a')
  expect(queue.take()).toBe('a')
  queue.add('a')
  queue.done('a', FAILED)
  await clock.pass(999)
  expect(queue.take()).toBeUndefined()
  await clock.pass(1)
  expect(queue.take()).toBe('a')
})

test('a key that asked to come again comes then, or at once when it changes or everything is looked at', async () => {
  const { queue, clock } = build()
  for (const key of ['later', 'changed', 'resynced']) queue.add(key)
  for (const key of takeAll(queue)) queue.done(key, { kind: 'again', afterMs: 500 })
  queue.add('resynced', 'resync')
  queue.add('changed')
  expect(takeAll(queue)).toEqual(['resynced', 'changed'])
  for (const key of ['resynced', 'changed']) queue.done(key, REST)
  await clock.pass(500)
  expect(takeAll(queue)).toEqual(['later'])
})

test('a lane that is full keeps no other lane waiting, and lanes take turns', () => {
  const { queue } = build({ lane: (key) => key.slice(0, 1) })
  for (const key of ['a1', 'a2', 'a3', 'b1', 'b2']) queue.add(key)
  expect(takeAll(queue)).toEqual(['a1', 'b1', 'a2', 'b2'])
  expect(queue.depth()).toBe(1)
  queue.done('a1', REST)
  expect(takeAll(queue)).toEqual(['a3'])
})

test('an abandoned pass gives its place away and keeps its key', () => {
  const { queue } = build({ laneWidth: 1 })
  queue.add('hung')
  queue.add('next')
  expect(takeAll(queue)).toEqual(['hung'])
  queue.abandon('hung')
  expect(takeAll(queue)).toEqual(['next'])
  queue.add('hung')
  queue.done('next', REST)
  expect(takeAll(queue)).toEqual([])
  queue.done('hung', REST)
  expect(takeAll(queue)).toEqual(['hung'])
})

test('a closed queue takes nothing and leaves no timer', () => {
  const { queue, clock } = build()
  for (const key of ['a', 'b']) queue.add(key)
  takeAll(queue)
  queue.done('a', FAILED)
  queue.close()
  queue.done('b', FAILED)
  queue.add('c')
  expect(takeAll(queue)).toEqual([])
  expect(clock.pending()).toBe(0)
})

const ACTS = ['change', 'resync', 'take', 'rest', 'failed', 'abandon', 'pass'] as const

/** Drives a queue with two lanes of two places, and holds it to its promises at every step. */
function drive() {
  const { queue, clock } = build({ lane: laneOf })
  const running = new Set<string>()
  const abandoned = new Set<string>()
  const owed = new Set<string>()

  function add(key: string, priority: Priority): void {
    queue.add(key, priority)
    owed.add(key)
  }

  function take(): void {
    const key = queue.take()
    if (key === undefined) return
    expect(running).not.toContain(key)
    running.add(key)
    owed.delete(key)
    const beside = [...running].filter((other) => laneOf(other) === laneOf(key) && !abandoned.has(other))
    expect(beside.length).toBeLessThanOrEqual(2)
  }

  function end(key: string, next: Next): void {
    if (!running.delete(key)) return
    abandoned.delete(key)
    queue.done(key, next)
    if (next.kind === 'failed') owed.add(key)
  }

  function abandon(key: string): void {
    if (!running.has(key) || abandoned.has(key)) return
    abandoned.add(key)
    queue.abandon(key)
  }

  /** Ends everything that runs and takes whatever is ready, after every backoff is over; gives what is still owed. */
  async function drain(): Promise<number> {
    for (let round = 0; round < 5; round++) {
      for (const key of [...running]) end(key, REST)
      await clock.pass(20_000)
      for (let i = 0; i < 5; i++) take()
    }
    return owed.size
  }

  const acts = {
    change: (key: string) => add(key, 'change'),
    resync: (key: string) => add(key, 'resync'),
    take,
    rest: (key: string) => end(key, REST),
    failed: (key: string) => end(key, FAILED),
    abandon,
    pass: () => clock.pass(500),
  }
  return { acts, drain }
}

function laneOf(key: string): string {
  return key.slice(0, 1)
}

test('whatever happens: no key runs twice at a time, no lane is wider than allowed, and nothing that was added is forgotten', async () => {
  const key = fc.constantFrom('a1', 'a2', 'a3', 'b1', 'b2')
  const act = fc.constantFrom(...ACTS)
  const run = async (steps: [(typeof ACTS)[number], string][]) => {
    const { acts, drain } = drive()
    for (const [name, on] of steps) await acts[name](on)
    expect(await drain()).toBe(0)
  }
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(act, key), { maxLength: 60 }), run), { numRuns: 200 })
})
