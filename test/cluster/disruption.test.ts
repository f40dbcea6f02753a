import { afterAll, beforeAll, expect, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { apply, createTenant, eventually, kubectl, tenantYaml } from '../e2e/platform.ts'
import { startTraffic, type Traffic } from './traffic.ts'

const RUNTIME = 'app.kubernetes.io/name=tenantry-runtime'
const OPERATOR = 'app.kubernetes.io/name=tenantry-operator'

let traffic: Traffic

beforeAll(async () => {
  traffic = await startTraffic('steady', await createTenant('steady', 'shard-a'), 100)
})

afterAll(() => traffic?.stop())

const rollOut = (name: string) => kubectl(['rollout', 'status', `deployment/${name}`, '--timeout=300s'])

/** The names of the pods that are not on their way out. */
async function pods(selector: string): Promise<string[]> {
  const { items } = JSON.parse(await kubectl(['get', 'pods', '-l', selector, '-o', 'json']))
  return items
    .filter(({ metadata }: { metadata: { deletionTimestamp?: string } }) => metadata.deletionTimestamp === undefined)
    .map(({ metadata }: { metadata: { name: string } }) => metadata.name)
}

async function update(name: string): Promise<void> {
  await kubectl(['rollout', 'restart', `deployment/${name}`])
  await rollOut(name)
  // Old pods drain after the rollout is said to be done.
  const ending = async () =>
    (await kubectl(['get', 'pods', '-l', `app.kubernetes.io/name=${name}`, '-o', 'name'])).trim().split('\n').length
  const wanted = Number(await kubectl(['get', 'deployment', name, '-o', 'jsonpath={.spec.replicas}']))
  await eventually(async () => expect(await ending()).toBe(wanted), 90)
}

/** Tenants that were asked for while the operator is disturbed, and all become Ready. */
async function provision(prefix: string, disturb: () => Promise<unknown>): Promise<void> {
  const names = Array.from({ length: 10 }, (_, index) => `${prefix}-${index}`)
  await Promise.all(names.map((name) => apply(tenantYaml(name, { apiKeys: [{ name: 'main' }] }))))
  await disturb()
  await kubectl(['wait', '--for=condition=Ready', ...names.map((name) => `tenant/${name}`), '--timeout=120s'])
}

async function killOperators(): Promise<void> {
  await kubectl(['delete', 'pod', '-l', OPERATOR, '--grace-period=0', '--force'])
  await rollOut('tenantry-operator')
}

async function drain(): Promise<void> {
  const [pod] = await pods(RUNTIME)
  const node = await kubectl(['get', 'pod', pod ?? '', '-o', 'jsonpath={.spec.nodeName}'])
  const ours = `--pod-selector=app.kubernetes.io/name in (tenantry-runtime, tenantry-operator, postgres)`
  try {
    // Where there is no other node it ends at what the budgets hold, which is not to be waited for.
    await kubectl(['drain', node, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=45s', ours]).catch(() => undefined)
  } finally {
    await kubectl(['uncordon', node])
  }
  await Promise.all(['tenantry-runtime', 'tenantry-operator'].map(rollOut))
}

test.each([
  ['HT-10: a rolling update of the runtime', () => update('tenantry-runtime')],
  ['HT-10: a rolling update of the operator, while it provisions', () => provision('updated', () => update('tenantry-operator'))],
  [
    'K8-08: a pod of the runtime that is deleted',
    async () => {
      await kubectl(['delete', 'pod', (await pods(RUNTIME))[0] ?? '', '--wait=true'])
      await rollOut('tenantry-runtime')
    },
  ],
  ['K8-08: all operators killed while they provision', () => provision('orphaned', killOperators)],
  ['K8-08: a node drained as far as the budgets let it', drain],
])('%s: no request fails', async (name, work) => {
  const { ok, failed, slowest } = await traffic.during(work)
  printFigure(`${name}: ${ok} requests answered, ${failed.length} failed, slowest ${slowest} ms`)
  expect(failed).toEqual([])
})
