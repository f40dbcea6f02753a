import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeWithMe } from '../../config/local/guard.ts'
import { type Kubectl, kubectlFor } from '../../config/local/kubectl.ts'
import { type Layout, layoutOf, type Part } from '../../config/local/layout.ts'
import { createProgress } from '../../config/local/progress.ts'
import type { PostgresServer } from '../../config/local/servers/postgres.ts'
import { statusOf } from '../../config/local/status.ts'
import { removeAll, stopAll } from '../../config/local/stop.ts'
import { up } from '../../config/local/up.ts'

/** The whole platform as `make up` starts it, for the bench alone. */
export type Platform = {
  kubeconfig: string
  kubectl: Kubectl
  shard: PostgresServer
  pidOf: (part: Part) => Promise<number>
  stop: () => Promise<void>
}

/** Starts it in a folder of its own; it ends with this process, however that ends. */
export async function startPlatform(): Promise<Platform> {
  const folder = await mkdtemp(join(tmpdir(), 'tenantry-bench-'))
  removeWithMe(folder)
  const layout = layoutOf(folder)
  const { signal } = new AbortController()
  const silent = createProgress(() => undefined, signal)
  const { shards } = await up(layout, silent, signal)
  const stop = async () => {
    await stopAll(layout, silent)
    await removeAll(layout)
    await rm(folder, { recursive: true, force: true })
  }
  return {
    kubeconfig: layout.kubeconfig,
    kubectl: kubectlFor(layout, signal),
    shard: shards['shard-a'],
    pidOf: (part) => pidOf(layout, part),
    stop,
  }
}

async function pidOf(layout: Layout, part: Part): Promise<number> {
  const status = (await statusOf(layout)).find(({ name }) => name === part)
  if (status?.pid === undefined) throw new Error(`${part} does not run`)
  return status.pid
}
