import { expect, test } from 'vitest'
import { ROUTING_BUCKETS } from '../../config/routing.ts'
import { bucketOf } from './build.ts'

const HOUR = 3600
const START = Date.parse('2026-11-24T00:00:00Z') / 1000

/** How many of these seconds fall into each bucket. */
function spread(count: number, step: number): number[] {
  const buckets = new Array<number>(ROUTING_BUCKETS).fill(0)
  for (let index = 0; index < count; index++) {
    const bucket = bucketOf(new Date((START + index * step) * 1000).toISOString())
    buckets[bucket] = (buckets[bucket] ?? 0) + 1
  }
  return buckets
}

test('tenants of one second share a bucket', () => {
  expect(bucketOf('2026-11-24T10:00:00Z')).toBe(bucketOf('2026-11-24T10:00:00.900Z'))
})

test.each([
  ['every second', 1],
  ['every minute', 60],
  ['every hour', HOUR],
  ['every day', 24 * HOUR],
])('tenants that come %s fill all buckets about alike', (_, step) => {
  const buckets = spread(320, step)
  expect(Math.max(...buckets)).toBeLessThanOrEqual(30)
  expect(Math.min(...buckets)).toBeGreaterThanOrEqual(10)
})
