import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { createTenant, eventually, kubectl } from '../e2e/platform.ts'
import { IN_FLIGHT, serveCustomMetrics } from './custom-metrics.ts'
import { startTraffic } from './traffic.ts'

const [LEAST, MOST] = [2, 6]
// Of the platform's own logins; the superuser of the servers asks, and is not counted.
const COUNT = `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres'`

const AUTOSCALER = 'hpa/tenantry-runtime'
const WAYS = [
  ['processor time', { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } }],
  ['requests in flight', { type: 'Pods', pods: { metric: { name: IN_FLIGHT }, target: { type: 'AverageValue', averageValue: '1' } } }],
] as const

let key: string
let metrics: unknown
let endMetrics: () => Promise<void>

beforeAll(async () => {
  key = await createTenant('crowd', 'shard-a', { isolation: 'row' })
  metrics = JSON.parse(await kubectl(['get', AUTOSCALER, '-o', 'json'])).spec.metrics
  endMetrics = await serveCustomMetrics()
})

afterAll(async () => {
  await kubectl(['delete', 'pod', 'many', '-n', 'tenantry-load', '--ignore-not-found', '--grace-period=0', '--force'])
  await scaleBy(metrics)
  await endMetrics()
})

function scaleBy(metrics: unknown): Promise<string> {
  return kubectl(['patch', AUTOSCALER, '--type=merge', '--patch', JSON.stringify({ spec: { metrics } })])
}

async function replicas(): Promise<number> {
  return Number(await kubectl(['get', 'deployment', 'tenantry-runtime', '-o', 'jsonpath={.status.readyReplicas}']))
}

async function connections(): Promise<number> {
  return Number(await kubectl(['exec', 'postgres-0', '--', 'psql', '--username=postgres', '--tuples-only', '--command', COUNT]))
}

test.each(WAYS)(
  'HT-15: by %s the runtime scales from 2 to 6 replicas under load and back, within the connections of the Shard',
  async (by, metric) => {
    await scaleBy([metric])
    const budget = Number(await kubectl(['get', 'shard', 'shard-a', '-o', 'jsonpath={.spec.capacity.connections}']))
    const seen: { replicas: number; connections: number }[] = []
    let watching = true
    const watch = (async () => {
      while (watching) {
        const [ready, open] = await Promise.all([replicas(), connections().catch(() => 0)])
        seen.push({ replicas: ready, connections: open })
        await pause(500)
      }
    })()
    await eventually(async () => expect(await replicas()).toBe(LEAST), 300)
    const begin = performance.now()
    const traffic = await startTraffic('many', key, 1_000)
    await eventually(async () => expect(await replicas()).toBe(MOST), 300)
    const up = performance.now()
    await traffic.stop()
    await eventually(async () => expect(await replicas()).toBe(LEAST), 500)
    const down = performance.now()
    watching = false
    await watch
    const peak = Math.max(...seen.map(({ connections }) => connections))
    const seconds = (ms: number) => Math.round(ms / 1000)
    printFigure(
      `HT-15: by ${by} ${LEAST} to ${MOST} replicas in ${seconds(up - begin)} s and back in ${seconds(down - up)} s; at most ${peak} of ${budget} connections, seen ${seen.length} times`,
    )
    expect(seen.length).toBeGreaterThan(50)
    expect(peak).toBeGreaterThan(0)
    expect(peak).toBeLessThanOrEqual(budget)
  },
)
