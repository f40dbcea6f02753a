import { expect, test } from 'vitest'
import { CATCH_UP_MS, LastWrites } from './last-writes.ts'

const view = (resourceVersion: string, uid = 'u1') => ({ uid, resourceVersion })

test('a view from before our last write is behind, one with it or after it is not', () => {
  const writes = new LastWrites()
  expect(writes.isBehind(view('9'))).toBe(false)
  writes.note(view('10'), true)
  expect(['9', '10', '11'].map((version) => writes.isBehind(view(version)))).toEqual([true, false, false])
})

test('only what our own last write made, and made complete, needs no pass', () => {
  const writes = new LastWrites()
  writes.note(view('10'), true)
  expect(['9', '10', '11'].map((version) => writes.isSettled(view(version)))).toEqual([false, true, false])
  writes.note(view('11'), false)
  expect(writes.isSettled(view('11'))).toBe(false)
})

test('what brings a view up to date needs a pass when one was turned away for it', () => {
  const writes = new LastWrites()
  writes.note(view('10'), true)
  expect(writes.isBehind(view('9'))).toBe(true)
  expect(writes.isSettled(view('10'))).toBe(false)
})

test('a new object of the same name is not held to the old one’s writes', () => {
  const writes = new LastWrites()
  writes.note(view('10'), true)
  expect(writes.isBehind(view('9', 'u2'))).toBe(false)
})

test('a cluster whose versions went back is believed after a while', () => {
  let now = 1
  const writes = new LastWrites(() => now)
  writes.note(view('10'), true)
  now += CATCH_UP_MS + 1
  expect(writes.isBehind(view('9'))).toBe(false)
})
