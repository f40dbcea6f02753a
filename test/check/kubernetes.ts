import { readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { findControlPlane } from '../../config/local/binaries.ts'
import { removeWithMe } from '../../config/local/guard.ts'
import { run } from '../../config/local/run.ts'
import { CHART, openHelms } from '../builders/helm.ts'
import { installTool } from '../builders/tools.ts'
import { score } from './kube-score.ts'
import { conform } from './kubeconform.ts'
import { writeSchemas } from './schemas.ts'

const CONFIG = join(import.meta.dirname, '..', '..', 'config')
const OVERLAYS = join(CONFIG, 'kubernetes', 'overlays')
const MONITORING = join(CONFIG, 'kubernetes', 'monitoring')
const SAMPLES = ['shards', 'tenants'].map((name) => join(CONFIG, 'samples', `${name}.yaml`))

/** Writes what a Kustomization is made of into a file; resolves with that. */
async function kustomize(path: string, folder: string): Promise<string> {
  const { kubectl } = await findControlPlane()
  return write(join(folder, `${basename(path)}.yaml`), (await run(kubectl, ['kustomize', path])).stdout)
}

/** The chart as each Helm renders it, in a file of its own. */
async function charts(folder: string): Promise<string[]> {
  const rendered = (await openHelms(folder)).map(async ({ version, helm }) =>
    write(join(folder, `chart-${version}.yaml`), await helm('template', 'platform', CHART, '--namespace', 'tenantry')),
  )
  return Promise.all(rendered)
}

async function write(file: string, text: string): Promise<string> {
  await writeFile(file, text)
  return file
}

/** K8-04: holds every overlay and the chart to kube-score and kubeconform, which Go installs with both Helms; says that it did not run where there is no Go. */
async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-manifests-'))
  removeWithMe(folder)
  try {
    const kubeScore = await installTool('kube-score', console.log)
    const kubeconform = await installTool('kubeconform', console.log)
    for (const helm of ['helm3', 'helm4'] as const) await installTool(helm, console.log)
    // Before anything is judged: where Go is needed and is not there, no verdict is lost.
    const schemas = await writeSchemas(folder)
    const overlays = await Promise.all(readdirSync(OVERLAYS).map((name) => kustomize(join(OVERLAYS, name), folder)))
    const files = [...overlays, ...(await charts(folder))]
    // Kube-score knows nothing of what the others are.
    const others = [await kustomize(MONITORING, folder), ...SAMPLES]
    const verdicts = [await score(kubeScore, files), await conform(kubeconform, [...files, ...others], schemas, folder)]
    process.exitCode = verdicts.every((good) => good) ? 0 : 1
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    console.log('K8-04: NOT RUN: there is no Go to install kube-score, kubeconform and Helm with')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

await main()
