import { expect, test } from 'vitest'
import { Busiest } from './busiest.ts'

const MINUTE = 60_000

test('tells of no more tenants than it was asked for, the busiest first', () => {
  const busiest = new Busiest(2)
  for (const [tenant, requests] of [
    ['quiet', 1],
    ['busy', 5],
    ['busier', 9],
  ] as const)
    for (let request = 0; request < requests; request += 1) busiest.add(tenant, request === 0 ? 503 : 200, 0.5)
  expect(busiest.list().map(([tenant]) => tenant)).toEqual(['busier', 'busy'])
  const [, [, usage] = []] = busiest.list()
  expect(usage?.seconds).toBe(2.5)
  expect(usage?.requests).toEqual(
    new Map([
      [503, 1],
      [200, 4],
    ]),
  )
})

test('goes by what is new, and forgets who sends nothing any more', () => {
  let now = 0
  const busiest = new Busiest(1, () => now)
  const send = (tenant: string, requests: number) => {
    for (let request = 0; request < requests; request += 1) busiest.add(tenant, 200, 0.1)
  }
  const names = () => busiest.list().map(([tenant]) => tenant)
  send('was busy', 100)
  expect(names()).toEqual(['was busy'])
  now += 6 * MINUTE
  expect(names()).toEqual(['was busy'])
  send('is busy', 10)
  now += 6 * MINUTE
  expect(names()).toEqual(['is busy'])
  now += 6 * MINUTE
  expect(names()).toEqual([])
})
