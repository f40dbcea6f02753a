import { execFile } from 'node:child_process'
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
import { podsOf, type Manifest as Rendered, render } from '../builders/manifests.ts'
import { installCrds } from '../builders/operator.ts'

const CHART = 'config/kubernetes/chart'
const HELMS = ['helm', 'helm3', 'helm4']
let folder: string
let namespace: string
let manifests: Rendered[]
/** By version: the program. */
const helms = new Map<string, string>()

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenantry-chart-'))
  await installCrds()
  namespace = await createNamespace()
  await kubectl(['label', 'namespace', namespace, 'pod-security.kubernetes.io/enforce=restricted'])
  manifests = await render('production')
  for (const program of HELMS) {
    const version = await execute(program, 'version', '--short').catch(() => undefined)
    if (version !== undefined) helms.set(version.trim(), program)
  }
})

afterAll(() => rm(folder, { recursive: true, force: true }))

function execute(program: string, ...words: string[]): Promise<string> {
  return new Promise((resolve, reject) =>
    execFile(program, words, { maxBuffer: 1 << 26 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(stderr)),
    ),
  )
}

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
  if (helms.size === 0) {
    printFigure('K8-12: NOT RUN: there is no helm in PATH (looked for helm, helm3 and helm4)')
    return
  }
  for (const [version, helm] of helms) {
    for (const [index, values] of COMBINATIONS.entries()) {
      const file = join(folder, `${index}.json`)
      await writeFile(file, JSON.stringify(values))
      const text = await execute(helm, 'template', 'platform', CHART, '--namespace', namespace, '--values', file)
      const objects = parseAllDocuments(text).flatMap((document) => (document.toJS() as Rendered | null) ?? [])
      await expectTaken(objects, values)
    }
    await expect(execute(helm, 'template', 'platform', CHART, '--set', 'replica=3')).rejects.toThrow(/replica/)
    printFigure(`K8-12: ${version}: ${COMBINATIONS.length} combinations of values rendered, and taken by the API server`)
  }
})

async function expectTaken(objects: Rendered[], values: (typeof COMBINATIONS)[number]): Promise<void> {
  const kinds = objects.filter(({ kind }) => kind === 'CustomResourceDefinition')
  expect(kinds.length).toBe(values.cluster ? 2 : 0)
  for (const { metadata } of kinds) expect(metadata).toMatchObject({ annotations: { 'helm.sh/resource-policy': 'keep' } })
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
