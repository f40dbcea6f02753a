import { expect, test } from 'vitest'
import { roomiest } from './build.ts'

const open = () => Array.from({ length: 16 }, () => ({ routes: { size: 0 }, waits: false }))

/** Puts so many routes where they belong, and writes what waits after every few. */
function fill(count: number, each: number) {
  const buckets = open()
  let writes = 0
  for (let index = 1; index <= count; index++) {
    const bucket = roomiest(buckets)
    bucket.routes.size += 1
    bucket.waits = true
    if (index % each > 0) continue
    for (const waiting of buckets.filter(({ waits }) => waits)) {
      waiting.waits = false
      writes += 1
    }
  }
  const sizes = buckets.map(({ routes }) => routes.size)
  return { writes, most: Math.max(...sizes), least: Math.min(...sizes) }
}

test('tenants that come together share a document', () => {
  expect(fill(1_000, 25).writes).toBe(40)
})

test.each([
  ['one by one', 1, 1],
  ['in fives', 5, 5],
  ['in hundreds', 100, 64],
  ['all at once', 3_200, 64],
])('documents become about equally long when tenants come %s', (_, each, apart) => {
  const { most, least } = fill(3_200, each)
  expect(most - least).toBeLessThanOrEqual(apart)
})

test('a document that waits takes no more when it is much longer than the shortest', () => {
  const buckets = open()
  const long = { routes: { size: 64 }, waits: true }
  expect(roomiest([long, ...buckets])).toBe(buckets[0])
  expect(roomiest([{ ...long, routes: { size: 63 } }, ...buckets]).routes.size).toBe(63)
})
