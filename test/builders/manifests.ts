import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { kubectl } from './cluster.ts'

const FOLDER = join('config', 'kubernetes', 'overlays')

/** The overlays by name. */
export const OVERLAYS: readonly string[] = readdirSync(FOLDER).sort()

/** An object as a manifest has it. */
export type Manifest = {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> }
  spec?: { template?: PodTemplate; volumeClaimTemplates?: { metadata: { name: string } }[]; [field: string]: unknown }
  [field: string]: unknown
}

/** What a Deployment or StatefulSet makes its pods of. */
export type PodTemplate = { metadata: object; spec: { serviceAccountName?: string; volumes?: object[]; [field: string]: unknown } }

/** Everything that an overlay is made of, as `kubectl apply -k` would apply it. */
export async function render(overlay: string): Promise<Manifest[]> {
  const text = await kubectl(['kustomize', join(FOLDER, overlay)])
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest)
}

/** A pod of each workload among the manifests, as its controller would make it, and the workload's name. */
export function podsOf(manifests: readonly Manifest[]): [name: string, pod: Manifest][] {
  return manifests.flatMap(({ kind, metadata, spec }) => {
    const { template, volumeClaimTemplates = [] } = spec ?? {}
    if (template === undefined) return []
    const claims = volumeClaimTemplates.map(({ metadata: { name } }) => ({ name, persistentVolumeClaim: { claimName: name } }))
    const podSpec = { ...template.spec, volumes: [...(template.spec.volumes ?? []), ...claims] }
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { ...template.metadata, name: metadata.name }, spec: podSpec }
    return [[`${kind} ${metadata.name}`, pod]]
  })
}
