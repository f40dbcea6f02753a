import { expect, test } from 'vitest'
import { divide, sharersOf, shortage } from './budget.ts'

const sharers = sharersOf({ workers: 8, connectionsPerShard: 4 }, 2)

test('what the operator does not need is divided among the replicas, and never more than there is', () => {
  expect(sharers).toEqual({ operator: 17, replicas: 2 })
  expect(divide(80, sharers, 5)).toEqual({ budget: 80, replicas: 2, perReplica: 31, used: 5 })
  for (const budget of [10, 17, 23, 24, 80, 1_000]) {
    const { perReplica } = divide(budget, sharers, 0)
    expect(perReplica === 0 || sharers.operator + sharers.replicas * perReplica <= budget).toBe(true)
  }
})

test('a budget that is too small is refused with one that is not', () => {
  const refusal = shortage(divide(22, sharers, 0), sharers)
  expect(refusal).toContain('set it to 23 or more')
  expect(shortage(divide(23, sharers, 0), sharers)).toBeUndefined()
  expect(shortage(divide(10, sharers, 0), sharers)).toContain('set it to 23 or more')
})
