import { expect, test } from 'vitest'
import type { Autoscaler, Deployment } from '../kubernetes/object.ts'
import { HeldCount, replicasOf } from './replicas.ts'

const metadata = { name: 'tenantry-runtime', namespace: 'x', uid: '1', resourceVersion: '1', creationTimestamp: '' }
const SLOW = { scaleDown: { policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }] } }
const ONE_BY_ONE = { minReadySeconds: 30, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } }

function deployment(spec: object, status: object = {}): Deployment {
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata, spec: { replicas: 2, template: { spec: {} }, ...spec }, status }
}

function autoscaler(maxReplicas: number, behavior: Autoscaler['spec']['behavior'] = SLOW, name = metadata.name): Autoscaler {
  const spec = { scaleTargetRef: { kind: 'Deployment', name }, maxReplicas, ...(behavior && { behavior }) }
  return { apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata, spec }
}

const percent = (value: number, selectPolicy = 'Max') => ({
  scaleDown: { selectPolicy, policies: [...SLOW.scaleDown.policies, { type: 'Percent', value, periodSeconds: 15 }] },
})

const cases: [what: string, deployment: Deployment, autoscaler: Autoscaler | undefined, count: number][] = [
  ['no autoscaler: those asked for, one of an update, one that ends', deployment(ONE_BY_ONE), undefined, 2 + 1 + 1],
  ['an autoscaler that takes one away a minute', deployment(ONE_BY_ONE), autoscaler(6), 6 + 1 + 2],
  ['an autoscaler of something else', deployment(ONE_BY_ONE), autoscaler(6, SLOW, 'other'), 2 + 1 + 1],
  ['an autoscaler that may take all away at once', deployment(ONE_BY_ONE), autoscaler(6, {}), 6 + 1 + 6],
  ['one that takes the larger of two steps', deployment(ONE_BY_ONE), autoscaler(6, percent(34)), 6 + 1 + 6],
  ['one that takes the smaller', deployment(ONE_BY_ONE), autoscaler(6, percent(34, 'Min')), 6 + 1 + 2],
  ['one that takes none away', deployment(ONE_BY_ONE), autoscaler(6, percent(34, 'Disabled')), 6 + 1 + 1],
  ['an update that waits for nothing', deployment({ ...ONE_BY_ONE, minReadySeconds: 0 }), autoscaler(6), 6 + 1 + 6],
  ['an update of Kubernetes’ own making', deployment({ minReadySeconds: 60 }), autoscaler(6), 6 + 2 + 4],
  ['an update that ends all first', deployment({ strategy: { type: 'Recreate' } }), undefined, 2],
  ['more asked for than the autoscaler allows', deployment({ ...ONE_BY_ONE, replicas: 9 }), autoscaler(6), 9 + 1 + 2],
  ['more there than there should be', deployment(ONE_BY_ONE, { replicas: 11, terminatingReplicas: 3 }), autoscaler(6), 14],
]

test.each(cases)('HT-15: how many replicas may hold connections at once: %s', (_, one, scaler, count) => {
  expect(replicasOf(one, scaler)).toEqual({ count, graceMs: 30_000 })
})

test('HT-15: without a Deployment nobody knows', () => {
  expect(replicasOf(undefined, autoscaler(6))).toBeUndefined()
})

test('HT-15: a number rises at once, and falls when those that are too many have had their time to end', () => {
  const held = new HeldCount(3)
  expect(held.take(9, 30, 0)).toEqual({ count: 9, againMs: undefined })
  expect(held.take(5, 30, 100)).toEqual({ count: 9, againMs: 30 })
  expect(held.take(3, 30, 120)).toEqual({ count: 9, againMs: 30 })
  expect(held.take(3, 30, 149)).toEqual({ count: 9, againMs: 1 })
  expect(held.take(3, 30, 150)).toEqual({ count: 3, againMs: undefined })
  expect(held.take(4, 30, 151)).toEqual({ count: 4, againMs: undefined })
})
