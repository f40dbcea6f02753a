import { execFile } from 'node:child_process'
import { basename } from 'node:path'
import { promisify } from 'node:util'

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

/** Holds files of manifests to kube-score; resolves with whether only what is accepted was found, after it has printed what was. */
export async function score(program: string, files: readonly string[]): Promise<boolean> {
  const findings = (await Promise.all(files.map((file) => findingsOf(program, file)))).flat()
  const faults = findings.filter((finding) => !ACCEPTED.some((one) => one.finding.test(finding)))
  const stale = ACCEPTED.filter((one) => !findings.some((finding) => one.finding.test(finding)))
  for (const { finding, because } of ACCEPTED) console.log(`accepted: ${finding.source}: ${because}`)
  for (const fault of faults) console.log(`FAIL  ${fault}`)
  for (const { finding } of stale) console.log(`FAIL  accepted, and found no more: ${finding.source}`)
  console.log(`K8-04: kube-score: ${findings.length} findings in ${files.length} files, ${faults.length} without a reason`)
  return faults.length + stale.length === 0
}

/** What kube-score says of a file, a line each, with the name of the file in front. */
async function findingsOf(program: string, file: string): Promise<string[]> {
  // It ends with 1 when it has found something; that a CPU limit slows a program down that nobody else waits for is why there is none.
  const words = ['score', '--ignore-container-cpu-limit', '--output-format', 'ci', file]
  const { stdout } = await promisify(execFile)(program, words).catch((error) => error)
  const name = basename(file, '.yaml')
  const lines = String(stdout).split('\n')
  if (!lines.some((line) => line.startsWith('[OK]'))) throw new Error(`kube-score said nothing of ${name}`)
  return lines.filter((line) => /^\[(CRITICAL|WARNING)\]/.test(line)).map((line) => `${name} ${line.replace(/^\[\w+\] /, '')}`)
}
