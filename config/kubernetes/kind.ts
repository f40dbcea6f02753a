import { join } from 'node:path'
import { run } from '../local/run.ts'
import { REPOSITORY } from './target.ts'

const NAME = 'tenantry'

/** The command that brings an image to the cluster's node. */
export const KIND_LOAD = `kind load docker-image --name ${NAME} "$IMAGE"`

/** Makes the kind cluster where there is none, and turns the current kubeconfig to it. Throws CommandError. */
export async function createKind(signal: AbortSignal): Promise<string> {
  const { stdout } = await run('kind', ['get', 'clusters'], { signal })
  if (stdout.split('\n').includes(NAME)) {
    await run('kind', ['export', 'kubeconfig', '--name', NAME], { signal })
    return 'is there already'
  }
  const config = join(REPOSITORY, 'config', 'kubernetes', 'kind', 'cluster.yaml')
  await run('kind', ['create', 'cluster', '--name', NAME, '--config', config, '--wait', '120s'], { signal })
  return 'made'
}

/** Removes the cluster with everything in it. Throws CommandError. */
export async function deleteKind(signal: AbortSignal): Promise<void> {
  await run('kind', ['delete', 'cluster', '--name', NAME], { signal })
}
