import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import type { Schemas } from './schemas.ts'

type Answer = { resources: { filename: string; kind: string; name: string; msg: string }[]; summary: Record<'valid' | 'skipped', number> }

/** Objects with a field that no schema knows, at the top and deep inside, of a kind of Kubernetes' and one of ours. */
const TYPOS = [
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, dada: {} },
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a' },
    spec: { containers: [{ name: 'a', lifecycle: { preStop: { sleep: { second: 5 } } } }] },
  },
  {
    apiVersion: 'tenantry.dev/v1alpha1',
    kind: 'Tenant',
    metadata: { name: 'a' },
    spec: { jwt: { issuer: 'https://a.example', audience: 'a' } },
  },
  { apiVersion: 'v1', kind: 'Pot', metadata: { name: 'a' } },
]

/** Holds files of manifests to kubeconform and to the schemas of an API server; resolves with whether nothing was found, after it has printed what was. */
export async function conform(
  program: string,
  files: readonly string[],
  { pattern, kinds, version }: Schemas,
  folder: string,
): Promise<boolean> {
  const typos = join(folder, 'typos.yaml')
  await writeFile(typos, TYPOS.map((object) => JSON.stringify(object)).join('\n---\n'))
  const blind = TYPOS.length - (await ask(program, pattern, [typos])).resources.length
  if (blind > 0) throw new Error(`kubeconform does not see ${blind} of ${TYPOS.length} faults that were put there`)
  const { resources, summary } = await ask(program, pattern, files)
  for (const { filename, kind, name, msg } of resources) console.log(`FAIL  ${basename(filename)} ${kind}/${name}: ${msg}`)
  console.log(
    `K8-04: kubeconform: ${summary.valid + resources.length} objects in ${files.length} files held to ${kinds} kinds of Kubernetes ${version}, ${resources.length} findings, ${summary.skipped} skipped; ${TYPOS.length}/${TYPOS.length} planted faults found`,
  )
  return resources.length + summary.skipped === 0 && summary.valid > 0
}

async function ask(program: string, pattern: string, files: readonly string[]): Promise<Answer> {
  const words = ['-strict', '-summary', '-output', 'json', '-schema-location', pattern, ...files]
  // It ends with 1 when it has found something.
  const { stdout } = await promisify(execFile)(program, words, { maxBuffer: 1 << 26 }).catch((error) => error)
  return JSON.parse(stdout)
}
