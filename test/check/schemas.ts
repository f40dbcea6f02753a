import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../config/local/run.ts'
import { type ControlPlane, startControlPlane } from '../../config/local/servers/control-plane.ts'
import { until } from '../../config/local/wait.ts'
import { definitionsOf, kindsOf, type OpenApi } from './openapi.ts'

const CRDS = join(import.meta.dirname, '..', '..', 'crds')
/** CRDs of other projects, whose kinds the manifests use and no API server knows by itself: files of their Go modules. */
const FOREIGN = {
  'sigs.k8s.io/gateway-api@v1.6.3': ['gateways', 'httproutes'].map((kind) => `config/crd/standard/gateway.networking.k8s.io_${kind}.yaml`),
  'github.com/prometheus-operator/prometheus-operator@v0.85.0': ['podmonitors', 'prometheusrules'].map(
    (kind) => `example/prometheus-operator-crd/monitoring.coreos.com_${kind}.yaml`,
  ),
}
const LEARNED = ['apis/tenantry.dev/v1alpha1', 'apis/gateway.networking.k8s.io/v1', 'apis/monitoring.coreos.com/v1']
const PATIENCE_MS = 60_000

/** The pattern of the files' names, as kubeconform takes it, the number of kinds, and the version of the API server that told them. */
export type Schemas = { pattern: string; kinds: number; version: string }

/**
 * Writes the schema of each kind into a file, as an API server tells them that has learned of our CRDs and of those of other projects.
 * Rejects with ENOENT where there is no Go.
 */
export async function writeSchemas(folder: string): Promise<Schemas> {
  const foreign = await Promise.all(Object.entries(FOREIGN).map(([module, paths]) => filesOf(module, paths)))
  const plane = await startControlPlane({ folder: join(folder, 'control-plane'), durable: false })
  try {
    await ask(plane, 'apply', '--server-side', ...[CRDS, ...foreign.flat()].flatMap((file) => ['-f', file]))
    const paths = await learnedPaths(plane)
    let kinds = 0
    for (const [path, { serverRelativeURL }] of Object.entries(paths))
      kinds += await writeGroup(join(folder, 'schemas'), path, JSON.parse(await ask(plane, 'get', '--raw', serverRelativeURL)))
    const pattern = join(folder, 'schemas', '{{ .Group }}', '{{ .ResourceAPIVersion }}', '{{ .ResourceKind }}.json')
    return { pattern, kinds, version: plane.version }
  } finally {
    await plane.stop()
  }
}

/** Files of a Go module, which Go downloads the first time. */
async function filesOf(module: string, paths: readonly string[]): Promise<string[]> {
  const { stdout } = await run('go', ['mod', 'download', '-json', module], { env: { GOFLAGS: '', GOWORK: 'off' } })
  const { Dir } = JSON.parse(stdout) as { Dir: string }
  return paths.map((path) => join(Dir, path))
}

type Paths = Record<string, { serverRelativeURL: string }>

async function ask({ kubectl, kubeconfig }: ControlPlane, ...words: string[]): Promise<string> {
  return (await run(kubectl, ['--kubeconfig', kubeconfig, ...words])).stdout
}

/** The documents of all groups and versions; those of a CRD are there a moment after it. */
async function learnedPaths(plane: ControlPlane): Promise<Paths> {
  const paths = await until(
    async () => {
      const { paths: all } = JSON.parse(await ask(plane, 'get', '--raw', '/openapi/v3')) as { paths: Paths }
      return LEARNED.every((path) => path in all) && all
    },
    { deadlineMs: PATIENCE_MS, everyMs: 250 },
  )
  if (paths === undefined) throw new Error(`the API server has not learned of ${LEARNED.join(' and ')} within ${PATIENCE_MS / 1000} s`)
  return paths
}

/** A file for each kind, beside the one that has all definitions; resolves with their number. Paths of other things have no kinds. */
async function writeGroup(folder: string, path: string, document: OpenApi): Promise<number> {
  const [, group = '', version = ''] = /^(?:api|apis\/([^/]+))\/(v[^/]+)$/.exec(path) ?? []
  if (version === '') return 0
  const kinds = kindsOf(document, group, version)
  // Kubeconform takes the version for the group of the kinds that have none.
  const own = join(folder, group === '' ? version : group, version)
  await mkdir(own, { recursive: true })
  await writeFile(join(own, 'definitions.json'), JSON.stringify({ definitions: definitionsOf(document) }))
  for (const [kind, name] of kinds)
    await writeFile(join(own, `${kind.toLowerCase()}.json`), JSON.stringify({ $ref: `definitions.json#/definitions/${name}` }))
  return kinds.length
}
