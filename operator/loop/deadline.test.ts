import { getEventListeners } from 'node:events'
import { expect, test } from 'vitest'
import { handClock } from '../../test/builders/clock.ts'
import { sleep } from './clock.ts'
import { DeadlineExceeded, deadline } from './deadline.ts'

test('aborts when the time is over, and says so', async () => {
  const clock = handClock()
  using limit = deadline('a call', 100, undefined, clock)
  await clock.pass(99)
  expect(limit.signal.aborted).toBe(false)
  await clock.pass(1)
  expect(limit.expired()).toBe(true)
  expect(limit.signal.reason).toBeInstanceOf(DeadlineExceeded)
})

test('extend starts the time anew, until it has run out', async () => {
  const clock = handClock()
  using limit = deadline('a stream', 100, undefined, clock)
  await clock.pass(90)
  limit.extend()
  await clock.pass(90)
  expect(limit.signal.aborted).toBe(false)
  await clock.pass(10)
  expect(limit.signal.aborted).toBe(true)
  limit.extend()
  expect(clock.pending()).toBe(0)
})

test('follows its parent with its reason, also one that aborted before', () => {
  const parent = new AbortController()
  using limit = deadline('a call', 100, parent.signal, handClock())
  const reason = new Error('SIGTERM')
  parent.abort(reason)
  using late = deadline('a call', 100, parent.signal, handClock())
  for (const { signal, expired } of [limit, late]) {
    expect(signal.reason).toBe(reason)
    expect(expired()).toBe(false)
  }
})

test('leaves no timer and no listener behind', async () => {
  const clock = handClock()
  const parent = new AbortController()
  {
    using limit = deadline('a call', 100, parent.signal, clock)
    expect(limit.signal.aborted).toBe(false)
  }
  const slept = sleep(100, parent.signal, clock)
  await clock.pass(100)
  await slept
  expect(clock.pending()).toBe(0)
  expect(getEventListeners(parent.signal, 'abort')).toEqual([])
})

test('sleep ends at once when the signal aborts', async () => {
  const clock = handClock()
  const stop = new AbortController()
  const slept = sleep(1_000, stop.signal, clock)
  stop.abort()
  await slept
  await sleep(1_000, stop.signal, clock)
  expect(clock.pending()).toBe(0)
})
