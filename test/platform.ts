import type { TestProject } from 'vitest/node'
import { launchPlatform } from './builders/platform.ts'
import { launchOnCluster } from './cluster/platform.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** `onCluster`: on that of the current kubeconfig, and not as processes of this machine. */
    platform: { folder: string; env: Record<string, string>; onCluster: boolean }
  }
}

/** Vitest global set-up of the end-to-end tests: the platform that all of them but the destructive ones share; CLUSTER=current has it on a cluster. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const onCluster = process.env.CLUSTER === 'current'
  const { folder, env, end } = await (onCluster ? launchOnCluster() : launchPlatform())
  project.provide('platform', { folder, env: await env(), onCluster })
  return end
}
