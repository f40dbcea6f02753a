import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { LocalPlatform } from '../builders/platform.ts'
import { type Candidates, type Forward, openForward } from './forward.ts'

const run = promisify(execFile)
const KUBECONFIG = resolve('build', 'cluster', 'kubeconfig')

type Pod = { metadata: { name: string; deletionTimestamp?: string }; status: { conditions?: { type: string; status: string }[] } }

/** The platform on the cluster of the current kubeconfig, installed or brought up to date, with a port of this machine for each of two replicas, and for the metrics of both programs. */
export async function launchOnCluster(): Promise<Pick<LocalPlatform, 'folder' | 'env' | 'end'>> {
  await run(process.execPath, ['config/kubernetes/main.ts', 'up'], { maxBuffer: 1 << 26 })
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-cluster-'))
  const taken = new Set<string>()
  const forwards: Forward[] = []
  const forward = async (name: string, candidates: Candidates, port: number, apart = taken) => {
    const opened = await openForward({
      kubeconfig: KUBECONFIG,
      candidates,
      taken: apart,
      port,
      file: join(folder, name),
    })
    forwards.push(opened)
    return opened.url
  }
  const env = {
    KUBECONFIG,
    PATH: process.env.PATH ?? '',
    TENANTRY_URL: await forward('runtime-a', readyReplicas, 8080),
    TENANTRY_URL_B: await forward('runtime-b', readyReplicas, 8080),
    TENANTRY_METRICS_URL: await forward('runtime-metrics', readyReplicas, 9090, new Set()),
    TENANTRY_OPERATOR_URL: await forward('operator', leader, 9090, new Set()),
  }
  const before = new Set(await owned())
  const end = async () => {
    for (const { close } of forwards) close()
    // The next run, and whoever tries things out there, begins with what was there before this one.
    for (const made of (await owned()).filter((name) => !before.has(name))) await kubectl(['delete', made, '--timeout=60s'])
    await rm(folder, { recursive: true, force: true })
  }
  return { folder, env: async () => env, end }
}

async function readyReplicas(): Promise<string[]> {
  const { items }: { items: Pod[] } = JSON.parse(
    await kubectl(['get', 'pods', '--selector=app.kubernetes.io/name=tenantry-runtime', '--output=json']),
  )
  const isReady = ({ status }: Pod) => status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
  return items.filter((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined).map(({ metadata }) => metadata.name)
}

/** The operator that leads: the others have nothing to tell. It holds the Lease under the name of its pod. */
async function leader(): Promise<string[]> {
  const holder = await kubectl(['get', 'lease', 'tenantry-operator', '--output=jsonpath={.spec.holderIdentity}'])
  return [holder.slice(0, holder.lastIndexOf('_'))]
}

/** The Tenants and Shards, in the order in which they can be deleted. */
async function owned(): Promise<string[]> {
  const names = await Promise.all(['tenants', 'shards'].map((kind) => kubectl(['get', kind, '--output=name'])))
  return names.flatMap((list) => list.split('\n')).filter((name) => name !== '')
}

async function kubectl(args: readonly string[]): Promise<string> {
  return (await run('kubectl', ['--kubeconfig', KUBECONFIG, ...args], { maxBuffer: 1 << 26 })).stdout
}
