import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { findControlPlane } from '../../config/local/binaries.ts'
import { installTool } from '../builders/tools.ts'

const OVERLAYS = join('config', 'kubernetes', 'overlays')

/** Findings that stay, each with the reason why; one that is found no more is a fault. */
const ACCEPTED: readonly { finding: RegExp; because: string }[] = [
  {
    finding: /ImagePullPolicy is not set to Always/,
    because: 'a tag names one content, and a node without the registry still starts pods',
  },
  { finding: /^\S+ metrics-server\/kube-system .*NetworkPolicy/, because: 'kube-system is not ours to close' },
  {
    finding: /^kind (metrics-server|nats|redis)\/.*Deployment few replicas/,
    because: 'for trying out: one of each is enough, and all of them may be away',
  },
  { finding: /^kind (redis|postgres)\/.*low (user|group) ID/, because: 'the official images own their files by these numbers' },
  { finding: /^kind tenantry-\w+\/.*podAntiAffinity/, because: 'a kind cluster has one node' },
  { finding: /^kind postgres\/.*podAntiAffinity/, because: 'a kind cluster has one node' },
  { finding: /^kind tenantry-node-port\/.*NodePort/, because: 'kind maps it to a port of the machine' },
]

const run = promisify(execFile)

/** What kube-score says of an overlay, a line each, with the overlay in front. */
async function findingsOf(overlay: string, kubectl: string, kubeScore: string, folder: string): Promise<string[]> {
  const { stdout } = await run(kubectl, ['kustomize', join(OVERLAYS, overlay)], { maxBuffer: 1 << 26 })
  const file = join(folder, `${overlay}.yaml`)
  await writeFile(file, stdout)
  // It ends with 1 when it has found something; that a CPU limit slows a program down that nobody else waits for is why there is none.
  const score = run(kubeScore, ['score', '--ignore-container-cpu-limit', '--output-format', 'ci', file]).catch((error) => error)
  const lines: string[] = String((await score).stdout).split('\n')
  if (!lines.some((line) => line.startsWith('[OK]'))) throw new Error(`kube-score said nothing of ${overlay}`)
  return lines.filter((line) => /^\[(CRITICAL|WARNING)\]/.test(line)).map((line) => `${overlay} ${line.replace(/^\[\w+\] /, '')}`)
}

/** K8-04: holds every overlay to kube-score, which Go installs; says that it did not run where there is no Go. */
async function main(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-kube-score-'))
  try {
    const { kubectl } = await findControlPlane()
    const kubeScore = await installTool('kube-score', console.log)
    const all = await Promise.all(readdirSync(OVERLAYS).map((overlay) => findingsOf(overlay, kubectl, kubeScore, folder)))
    const findings = all.flat()
    const faults = findings.filter((finding) => !ACCEPTED.some((one) => one.finding.test(finding)))
    const stale = ACCEPTED.filter((one) => !findings.some((finding) => one.finding.test(finding)))
    for (const { finding, because } of ACCEPTED) console.log(`accepted: ${finding.source}: ${because}`)
    for (const fault of faults) console.log(`FAIL  ${fault}`)
    for (const { finding } of stale) console.log(`FAIL  accepted, and found no more: ${finding.source}`)
    console.log(`K8-04: kube-score: ${findings.length} findings in ${all.length} overlays, ${faults.length} without a reason`)
    process.exitCode = faults.length + stale.length === 0 ? 0 : 1
    // Not used here: the tests of the chart find them.
    for (const helm of ['helm3', 'helm4'] as const)
      console.log(`K8-12: Helm for the tests of the chart: ${await installTool(helm, console.log)}`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    console.log('K8-04: NOT RUN: there is no Go to install kube-score with')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

await main()
