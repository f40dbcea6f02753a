import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { chartOf } from '../../config/kubernetes/chart.ts'
import { createNamespace, judge, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { CHART, type Helm, NO_HELM, openHelms } from '../builders/helm.ts'
import { podsOf, type Manifest as Rendered, render } from '../builders/manifests.ts'
import { installCrds } from '../builders/operator.ts'

/** What a cluster has once, and keeps. */
const OF_CLUSTER = ['CustomResourceDefinition', 'ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding'].flatMap((kind) => [
  kind,
  kind,
])

let folder: string
let namespace: string
let manifests: Rendered[]
let helms: Helm[]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-chart-'))
  await installCrds()
  namespace = await createNamespace()
  await kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted'])
  manifests = await render('production')
  helms = await openHelms(folder)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

/** Every combination of what values decide. */
const COMBINATIONS = [true, false].flatMap((cluster) =>
  [true, false].flatMap((inFlight) =>
    [{}, { TENANTRY_WORKERS: 4, TENANTRY_ON_BREACH: 'suspend' }].flatMap((settings) =>
      ['', 'other'].map((tag) => ({
        cluster,
        runtime: {
          inFlight,
          tag,
          replicas: { min: 2, max: 5 },
          settings: { TENANTRY_NATS_URL: 'nats://nats:4222', TENANTRY_LIMITS: 'off' },
        },
        operator: { settings, tag, replicas: 2 },
      })),
    ),
  ),
)

test('K8-12: the chart is that of the manifests', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const files = chartOf(manifests, version)
  for (const [path, text] of Object.entries(files)) expect(readFileSync(join(CHART, path), 'utf8'), 'run `make chart`').toBe(text)
})

test('K8-12: preset values and all combinations are what the schema allows, and what is not is refused', () => {
  const allows = new Ajv({ strict: false }).compile(JSON.parse(readFileSync(`${CHART}/values.schema.json`, 'utf8')))
  for (const values of [parse(readFileSync(`${CHART}/values.yaml`, 'utf8')), ...COMBINATIONS.map(whole)])
    expect(allows(values), JSON.stringify(allows.errors)).toBe(true)
  for (const wrong of [{ replica: 3 }, { cluster: 'yes' }, { operator: { replicas: 0 } }, { runtime: { settings: { 'not a name': 'x' } } }])
    expect(allows({ ...whole({}), ...wrong }), JSON.stringify(wrong)).toBe(false)
})

function whole(values: object): object {
  const preset = parse(readFileSync(`${CHART}/values.yaml`, 'utf8'))
  const merged = (name: string) => ({ ...preset[name], ...Object(values)[name] })
  return { ...preset, ...values, runtime: merged('runtime'), operator: merged('operator') }
}

test('K8-12: Helm renders every combination of values, and a real API server takes each', { timeout: 240_000 }, async () => {
  if (helms.length === 0) printFigure(NO_HELM)
  for (const { version, helm } of helms) {
    for (const [index, values] of COMBINATIONS.entries()) {
      const file = join(folder, `${index}.json`)
      await writeFile(file, JSON.stringify(values))
      const text = await helm('template', 'platform', CHART, '--namespace', namespace, '--values', file)
      // As Helm itself reads what it has rendered.
      const objects = parseAllDocuments(text, { version: '1.1' }).flatMap((document) => (document.toJS() as Rendered | null) ?? [])
      await expectTaken(objects, values)
    }
    await expect(helm('template', 'platform', CHART, '--set', 'replica=3')).rejects.toThrow(/replica/)
    printFigure(`K8-12: ${version}: ${COMBINATIONS.length} combinations of values rendered, and taken by the API server`)
  }
})

test('K8-12: Helm has nothing to say against the chart', async () => {
  if (helms.length === 0) printFigure(NO_HELM)
  for (const { version, helm } of helms) {
    expect(await helm('lint', CHART, '--strict')).toContain('1 chart(s) linted, 0 chart(s) failed')
    printFigure(`K8-12: ${version}: helm lint --strict finds nothing`)
  }
})

async function expectTaken(objects: Rendered[], values: (typeof COMBINATIONS)[number]): Promise<void> {
  const kept = objects.filter(({ metadata }) => metadata.annotations?.['helm.sh/resource-policy'] === 'keep')
  expect(kept.map(({ kind }) => kind).sort()).toEqual(values.cluster ? OF_CLUSTER : [])
  expect(objects.map(({ metadata }) => metadata.namespace).filter((one) => one !== undefined && one !== namespace)).toEqual([])
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
  const taken = await kubectl(['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '-f', '-'], list)
  expect(taken.trim().split('\n')).toHaveLength(objects.length)
  for (const [name, pod] of podsOf(objects)) {
    const names = (Object(pod.spec).containers[0].env ?? []).map((entry: { name: string }) => entry.name)
    expect(new Set(names).size, name).toBe(names.length)
    const bare = { ...pod, spec: { ...pod.spec, serviceAccountName: 'default', automountServiceAccountToken: false } }
    expect(await judge(namespace, bare), name).toBe('accepted')
  }
}
