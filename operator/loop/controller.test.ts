import { afterEach, beforeEach, expect, test } from 'vitest'
import { type HandClock, handClock } from '../../test/builders/clock.ts'
import { keepLog } from '../../test/builders/log.ts'
import { type Controller, type ControllerOptions, type Result, reconcileChannel, runController, workqueueChannel } from './controller.ts'

const DONE: Result = { kind: 'done' }

let clock: HandClock
let stop: AbortController
let begun: string[]

beforeEach(() => {
  clock = handClock()
  stop = new AbortController()
  begun = []
})
afterEach(() => stop.abort(new Error('the test is over')))

/** Runs a controller that writes down each pass as it begins. */
function run(work: ControllerOptions['reconcile'], options: Partial<ControllerOptions> = {}): Controller {
  const reconcile: typeof work = (key, ...more) => {
    begun.push(key)
    return work(key, ...more)
  }
  const times = {
    resyncMs: 100_000,
    deadlineMs: 10_000,
    graceMs: 1_000,
    backoff: { baseMs: 100, capMs: 10_000, jitter: 0 },
    random: () => 0.5,
  }
  return runController({ name: 'test', reconcile, keys: () => [], signal: stop.signal, log: keepLog(), clock, ...times, ...options })
}

const hang = () => new Promise<Result>(() => {})
const obey = (signal: AbortSignal) => new Promise<Result>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

test('many askings before the pass begins are one pass, and a pass never begins inside the call that asks', async () => {
  const controller = run(async () => DONE)
  for (let i = 0; i < 5; i++) controller.enqueue('a')
  expect(begun).toEqual([])
  await clock.pass(0)
  expect(begun).toEqual(['a'])
})

test('passes run up to the number of workers at once, eight unless told otherwise', async () => {
  const controller = run(hang)
  for (let i = 0; i < 20; i++) controller.enqueue(`key-${i}`)
  await clock.pass(0)
  expect(begun).toHaveLength(8)
  expect(controller.depth()).toBe(12)
})

test('a pass that leaves gives its place to another and keeps its key, and no more than 256 do', async () => {
  const ends = new Map<string, () => void>()
  const controller = run((key, _, leave) => {
    leave()
    return new Promise((resolve) => ends.set(key, () => resolve(DONE)))
  })
  for (let i = 0; i < 300; i++) controller.enqueue(`key-${i}`)
  await clock.pass(0)
  expect(begun).toHaveLength(256 + 8)
  controller.enqueue('key-0')
  await clock.pass(0)
  expect(begun.filter((key) => key === 'key-0')).toHaveLength(1)
  ends.get('key-0')?.()
  await clock.pass(0)
  expect(begun).toHaveLength(256 + 8)
  ends.get('key-263')?.()
  await clock.pass(0)
  expect(begun).toHaveLength(256 + 10)
})

test('requeue comes again after its time, wait and done do not', async () => {
  const controller = run(async (key) => (key === 'again' ? { kind: 'requeue', afterMs: 5_000 } : key === 'wait' ? { kind: 'wait' } : DONE))
  for (const key of ['again', 'wait', 'done']) controller.enqueue(key)
  await clock.pass(5_000)
  expect(begun).toEqual(['again', 'wait', 'done', 'again'])
})

test('what a pass throws, in any way, is a failure of its key alone', async () => {
  const controller = run((key) => {
    if (key === 'throws') throw new Error('before there was a promise')
    return key === 'rejects'
      ? Promise.reject(new Error('rejected'))
      : key === 'undefined'
        ? Promise.reject(undefined)
        : Promise.resolve(DONE)
  })
  for (const key of ['throws', 'rejects', 'undefined', 'good']) controller.enqueue(key)
  await clock.pass(100)
  expect(begun).toEqual(['throws', 'rejects', 'undefined', 'good', 'throws', 'rejects', 'undefined'])
})

test('a pass is aborted at its deadline and counts as failed', async () => {
  const results: unknown[] = []
  const listen = (message: unknown) => void results.push(message)
  reconcileChannel.subscribe(listen)
  run((_, signal) => obey(signal)).enqueue('slow')
  await clock.pass(10_000)
  reconcileChannel.unsubscribe(listen)
  expect(results).toEqual([{ controller: 'test', key: 'slow', result: 'timeout', durationMs: 10_000 }])
  await clock.pass(100)
  expect(begun).toEqual(['slow', 'slow'])
})

test('a pass that ignores its signal gives its place away after the grace time, its key stays taken, and it is told of', async () => {
  const controller = run((key) => (key === 'deaf' ? hang() : Promise.resolve(DONE)), { workers: 1 })
  for (const key of ['deaf', 'next']) controller.enqueue(key)
  await clock.pass(10_999)
  expect(begun).toEqual(['deaf'])
  expect(controller.stuck()).toEqual([])
  await clock.pass(2)
  expect(begun).toEqual(['deaf', 'next'])
  controller.enqueue('deaf')
  await clock.pass(60_000)
  expect(begun).toEqual(['deaf', 'next'])
  expect(controller.stuck()).toMatchObject([{ key: 'deaf', ms: 71_001 }])
})

test('all keys are looked at again at every resync, after what has changed; a fault in telling the keys ends nothing', async () => {
  let faulty = true
  const keys = () => {
    if (faulty) throw new Error('no keys')
    return ['a', 'b']
  }
  const controller = run(async () => DONE, { keys, workers: 1 })
  await clock.pass(100_000)
  expect(begun).toEqual([])
  faulty = false
  await clock.pass(99_999)
  controller.enqueue('changed')
  await clock.pass(1)
  expect(begun).toEqual(['changed', 'a', 'b'])
})

test('a fault in telling the lane costs the key nothing', async () => {
  const lane = () => {
    throw new Error('no lane')
  }
  run(async () => DONE, { lane }).enqueue('a')
  await clock.pass(0)
  expect(begun).toEqual(['a'])
})

test('when its signal aborts, running passes are told and waited for, and nothing begins any more', async () => {
  let ended = false
  const controller = run((_, signal) => obey(signal), { workers: 1 })
  for (const key of ['runs', 'waits']) controller.enqueue(key)
  await clock.pass(0)
  void controller.done.then(() => {
    ended = true
  })
  await clock.pass(0)
  expect(ended).toBe(false)
  stop.abort(new Error('SIGTERM'))
  controller.enqueue('late')
  await clock.pass(0)
  expect(ended).toBe(true)
  expect(begun).toEqual(['runs'])
  expect(clock.pending()).toBe(0)
})

test('a pass that does not end holds the end of the controller up for the grace time only', async () => {
  const controller = run(hang)
  controller.enqueue('deaf')
  await clock.pass(0)
  stop.abort(new Error('SIGTERM'))
  await clock.pass(1_000)
  await controller.done
})

test('the depth of the queue is announced', async () => {
  const depths: unknown[] = []
  const listen = (message: unknown) => void depths.push(message)
  workqueueChannel.subscribe(listen)
  const controller = run(hang, { workers: 1 })
  for (const key of ['a', 'b', 'c']) controller.enqueue(key)
  await clock.pass(0)
  workqueueChannel.unsubscribe(listen)
  expect(depths.at(-1)).toEqual({ controller: 'test', depth: 2 })
})
