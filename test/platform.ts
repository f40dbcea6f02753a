import type { TestProject } from 'vitest/node'
import { launchPlatform } from './builders/platform.ts'

declare module 'vitest' {
  interface ProvidedContext {
    platform: { folder: string; env: Record<string, string> }
  }
}

/** Vitest global set-up of the end-to-end tests: the platform that all of them but the destructive ones share. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { folder, env, end } = await launchPlatform()
  project.provide('platform', { folder, env: await env() })
  return end
}
