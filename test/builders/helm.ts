import { join } from 'node:path'
import { run } from '../../config/local/run.ts'
import { findHelms } from './tools.ts'

/** The chart's folder. */
export const CHART = join(import.meta.dirname, '..', '..', 'config', 'kubernetes', 'chart')

/** What is printed where there is no Helm to try the chart with. */
export const NO_HELM = 'K8-12: NOT RUN: there is no helm, helm3 or helm4 in PATH, and `make manifests` has installed none'

/** Runs Helm to its end and resolves with what it printed; rejects with what it complained of. */
export type Helm = { version: string; helm: (...words: string[]) => Promise<string> }

/** Every Helm that there is, with a home in `folder` instead of the user's own. */
export async function openHelms(folder: string): Promise<Helm[]> {
  const env = Object.fromEntries(['CACHE', 'CONFIG', 'DATA'].map((what) => [`HELM_${what}_HOME`, join(folder, what.toLowerCase())]))
  return [...(await findHelms())].map(([version, program]) => ({
    version,
    helm: async (...words) => (await run(program, words, { env })).stdout,
  }))
}
