import { expect, test } from 'vitest'
import { CATCH_UP_MS, LastWrites } from './last-writes.ts'

const acme = (resourceVersion: string, uid = 'u1') => ({ name: 'acme', uid, resourceVersion })

test('a view from before our last write is behind, one with it or after it is not', () => {
  const writes = new LastWrites(() => 0)
  expect(writes.isBehind(acme('9'))).toBe(false)
  writes.note(acme('10'))
  expect([acme('9'), acme('10'), acme('11')].map((view) => writes.isBehind(view))).toEqual([true, false, false])
})

test('a new Tenant of the same name is not held to the old one’s writes, nor one that is gone', () => {
  const writes = new LastWrites(() => 0)
  writes.note(acme('10'))
  expect(writes.isBehind(acme('9', 'u2'))).toBe(false)
  writes.forget('acme')
  expect(writes.isBehind(acme('9'))).toBe(false)
})

test('a cluster whose versions went back is believed after a while', () => {
  let now = 0
  const writes = new LastWrites(() => now)
  writes.note(acme('10'))
  now = CATCH_UP_MS
  expect(writes.isBehind(acme('9'))).toBe(false)
})
