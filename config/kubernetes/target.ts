import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type Kubectl, kubectlFor } from '../local/kubectl.ts'
import { NAMESPACE } from '../local/layout.ts'
import { run } from '../local/run.ts'

/** The clone. */
export const REPOSITORY = resolve(import.meta.dirname, '..', '..')

/** Where the installation keeps what it makes for itself. */
export const FOLDER = join(REPOSITORY, 'build', 'cluster')

/** The cluster that is installed on, and the kubeconfig that leads to it and names the platform's namespace. */
export type Target = { kubectl: Kubectl; kubeconfig: string; server: string }

/** The cluster that the current kubeconfig leads to now: what its user turns to later changes nothing. Throws CommandError when there is none. */
export async function currentCluster(signal: AbortSignal): Promise<Target> {
  const kubeconfig = join(FOLDER, 'kubeconfig')
  const { stdout } = await run('kubectl', ['config', 'view', '--raw', '--minify', '--flatten'], { signal })
  await mkdir(FOLDER, { recursive: true })
  await writeFile(kubeconfig, stdout, { mode: 0o600 })
  await chmod(kubeconfig, 0o600)
  const kubectl = kubectlFor({ kubectl: 'kubectl', kubeconfig, folder: FOLDER }, signal)
  await kubectl(['config', 'set-context', '--current', `--namespace=${NAMESPACE}`])
  const server = await kubectl(['config', 'view', '--output=jsonpath={.clusters[0].cluster.server}'])
  return { kubectl, kubeconfig, server }
}
