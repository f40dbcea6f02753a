import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { LocalPlatform } from '../builders/platform.ts'
import { openForward } from './forward.ts'

const run = promisify(execFile)
const KUBECONFIG = resolve('build', 'cluster', 'kubeconfig')

type Pod = { metadata: { name: string; deletionTimestamp?: string }; status: { conditions?: { type: string; status: string }[] } }

/** The platform on the cluster of the current kubeconfig, installed or brought up to date, with a port of this machine for each of two replicas. */
export async function launchOnCluster(): Promise<Pick<LocalPlatform, 'folder' | 'env' | 'end'>> {
  await run(process.execPath, ['config/kubernetes/main.ts', 'up'], { maxBuffer: 1 << 26 })
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-cluster-'))
  const taken = new Set<string>()
  const forward = (name: string) => openForward(KUBECONFIG, readyReplicas, taken, join(folder, name))
  const [a, b] = [await forward('runtime-a'), await forward('runtime-b')]
  const end = async () => {
    a.close()
    b.close()
    await rm(folder, { recursive: true, force: true })
  }
  return { folder, env: async () => ({ KUBECONFIG, TENANTRY_URL: a.url, TENANTRY_URL_B: b.url, PATH: process.env.PATH ?? '' }), end }
}

async function readyReplicas(): Promise<string[]> {
  const list = ['get', 'pods', '--selector=app.kubernetes.io/name=tenantry-runtime', '--output=json']
  const { stdout } = await run('kubectl', ['--kubeconfig', KUBECONFIG, ...list], { maxBuffer: 1 << 26 })
  const { items }: { items: Pod[] } = JSON.parse(stdout)
  const isReady = ({ status }: Pod) => status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
  return items.filter((pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined).map(({ metadata }) => metadata.name)
}
