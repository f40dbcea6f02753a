import { expect, test } from 'vitest'
import type { TenantSpec } from '../../crds/tenant.ts'
import { type Candidate, choosePlacement, matches } from './placement.ts'

const candidate = (name: string, changes: Partial<Candidate> = {}): Candidate => ({
  name,
  labels: {},
  ready: true,
  why: `${name} is ill.`,
  schedulable: true,
  isolations: ['row', 'schema', 'database'],
  capacity: 10,
  tenants: 0,
  ...changes,
})
const spec = (changes: Partial<TenantSpec> = {}): TenantSpec => ({
  plan: 'free',
  isolation: 'schema',
  suspended: false,
  deletionPolicy: 'Retain',
  deletionProtection: false,
  ...changes,
})
const named = spec({ shardRef: { name: 'a' } })
const zoned = spec({ placement: { shardSelector: { matchLabels: { zone: 'eu' } } } })

const cases: [string, TenantSpec, Candidate[], string][] = [
  [
    'the least loaded, by the part of its capacity',
    spec(),
    [candidate('a', { tenants: 5 }), candidate('b', { tenants: 8, capacity: 100 })],
    'b LeastLoadedShard',
  ],
  ['equal ones by name', spec(), [candidate('b'), candidate('a')], 'a LeastLoadedShard'],
  ['the named one, however full the others are', named, [candidate('a', { tenants: 9 }), candidate('b')], 'a NamedShard'],
  ['the selected one', zoned, [candidate('a'), candidate('b', { labels: { zone: 'eu' }, tenants: 3 })], 'b LeastLoadedShard'],
  ['a named one that is not there', named, [candidate('b')], 'ShardNotFound'],
  ['a named one that is not Ready', named, [candidate('a', { ready: false })], 'ShardNotReady'],
  ['a named one that is cordoned', named, [candidate('a', { schedulable: false })], 'ShardCordoned'],
  ['a named one that is full', named, [candidate('a', { tenants: 10 })], 'ShardFull'],
  ['none at all', spec(), [], 'NoShardAvailable'],
  ['none that matches', zoned, [candidate('a')], 'NoShardAvailable'],
  [
    'all full, cordoned or ill',
    spec(),
    [candidate('a', { tenants: 10 }), candidate('b', { schedulable: false }), candidate('c', { ready: false })],
    'NoShardAvailable',
  ],
]

test.each(cases)('places: %s', (_, tenant, candidates, expected) => {
  const placement = choosePlacement(tenant, candidates)
  expect(placement.kind === 'placed' ? `${placement.shard} ${placement.reason}` : placement.reason).toBe(expected)
})

test('says why there is no place', () => {
  const { message } = choosePlacement(spec(), [candidate('a', { tenants: 10 }), candidate('b', { schedulable: false })])
  expect(message).toBe(
    'Of 2 Shards 0 are not Ready, 1 are not schedulable, 0 do not accept isolation schema, 1 are full: add a Shard or raise spec.capacity.tenants of one.',
  )
  expect(choosePlacement(spec(), [candidate('a', { ready: false })]).message).toBe(
    'Of 1 Shards 1 are not Ready, 0 are not schedulable, 0 do not accept isolation schema, 0 are full: add a Shard or raise spec.capacity.tenants of one. a is ill.',
  )
  expect(choosePlacement(named, [candidate('a', { ready: false })]).message).toBe('a is ill.')
})

test.each([
  [{ matchExpressions: [{ key: 'zone', operator: 'In' as const, values: ['eu', 'us'] }] }, true],
  [{ matchExpressions: [{ key: 'zone', operator: 'NotIn' as const, values: ['eu'] }] }, false],
  [{ matchExpressions: [{ key: 'tier', operator: 'NotIn' as const, values: ['x'] }] }, true],
  [{ matchExpressions: [{ key: 'zone', operator: 'Exists' as const }] }, true],
  [{ matchExpressions: [{ key: 'zone', operator: 'DoesNotExist' as const }] }, false],
  [{ matchLabels: { zone: 'eu' }, matchExpressions: [{ key: 'tier', operator: 'Exists' as const }] }, false],
])('matches labels as Kubernetes does: %j', (selector, expected) => {
  expect(matches(selector, { zone: 'eu' })).toBe(expected)
})
