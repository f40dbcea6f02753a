import { expect, test } from 'vitest'
import { backoffDelay } from './backoff.ts'

const backoff = { baseMs: 100, capMs: 1_000, jitter: 0.5 }

test('doubles from the base up to the cap', () => {
  expect([1, 2, 3, 4, 5, 6, 2_000].map((failures) => backoffDelay(backoff, failures, () => 0))).toEqual([
    100, 200, 400, 800, 1_000, 1_000, 1_000,
  ])
})

test('jitter takes away, so that the cap holds', () => {
  expect(backoffDelay(backoff, 2, () => 1)).toBe(100)
  expect(backoffDelay(backoff, 2, () => 0.5)).toBe(150)
})

test('stays between the cap with full jitter and the cap, whatever is drawn', () => {
  for (let failures = 4; failures < 100; failures++) {
    const delay = backoffDelay(backoff, failures)
    expect(delay).toBeGreaterThanOrEqual(400)
    expect(delay).toBeLessThanOrEqual(1_000)
  }
})
