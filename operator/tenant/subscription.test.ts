import { expect, test } from 'vitest'
import { nextLook, routeState, type Subscription, suspensionOf } from './subscription.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const DAY_MS = 86_400_000
const END = '2026-01-01T01:00:00+01:00'
const END_IN_ROUTE = '2026-01-01T00:00:00.000Z'
const LATER = '2026-01-01T00:00:05Z'
const LATER_IN_ROUTE = '2026-01-01T00:00:05.000Z'

const cases: [string, Subscription, string | undefined, number | undefined, ReturnType<typeof routeState>][] = [
  ['no end', { suspended: false }, undefined, undefined, { state: 'active' }],
  ['by its owner', { suspended: true }, 'spec.suspended to false', undefined, { state: 'suspended' }],
  [
    'an end to come',
    { suspended: false, subscriptionEndsAt: LATER },
    undefined,
    5_000,
    { state: 'active', subscriptionEndsAt: LATER_IN_ROUTE },
  ],
  [
    'an end that is now, in another zone',
    { suspended: false, subscriptionEndsAt: END },
    'spec.subscriptionEndsAt to a later time',
    0,
    { state: 'suspended', subscriptionEndsAt: END_IN_ROUTE },
  ],
  [
    'both',
    { suspended: true, subscriptionEndsAt: LATER },
    'spec.suspended to false',
    undefined,
    { state: 'suspended', subscriptionEndsAt: LATER_IN_ROUTE },
  ],
  [
    'an end in thirty years, which no timer can wait for',
    { suspended: false, subscriptionEndsAt: '2056-01-01T00:00:00Z' },
    undefined,
    DAY_MS,
    { state: 'active', subscriptionEndsAt: '2056-01-01T00:00:00.000Z' },
  ],
]

test.each(cases)('TI-08: suspended or not: %s', (_, subscription, message, look, route) => {
  const suspension = suspensionOf(subscription, NOW)
  if (message === undefined) expect(suspension).toBeUndefined()
  else expect(suspension).toContain(message)
  expect(nextLook(subscription, NOW)).toBe(look)
  expect(routeState(subscription, NOW)).toEqual(route)
})
