import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { apply, eventually, kubectl } from '../e2e/platform.ts'

const NAMESPACE = 'tenantry-load'

/** Traffic from a pod on the cluster, through the Service. */
export type Traffic = {
  /** Does something to the platform meanwhile, and for some seconds after; gives what the traffic saw from its beginning on. */
  during: (work: () => Promise<unknown>) => Promise<Seen>
  stop: () => Promise<void>
}

/** How many requests were answered with success, what became of the others, and the longest wait, in milliseconds. */
export type Seen = { ok: number; failed: string[]; slowest: number }

/** Starts so many requests a second for a tenant, a fifth of them commands, and waits until they flow. */
export async function startTraffic(name: string, key: string, perSecond: number): Promise<Traffic> {
  await apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: await manifests(name, key, perSecond) }))
  const lines = async (): Promise<(Seen & { sent: number })[]> => {
    const text = await kubectl(['logs', name, '-n', NAMESPACE])
    return text
      .trim()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  }
  const seconds = async (more: number) => {
    const before = (await lines()).length
    await eventually(async () => expect((await lines()).length).toBeGreaterThan(before + more), 120)
  }
  await kubectl(['wait', '--for=condition=Ready', `pod/${name}`, '-n', NAMESPACE, '--timeout=60s'])
  // What asks for more than there is waits until it is given something.
  await eventually(async () => expect((await lines()).at(-1)?.ok).toBeGreaterThan(Math.min(perSecond / 2, 50)))
  const during = async (work: () => Promise<unknown>) => {
    const from = (await lines()).length
    await seconds(2)
    await work()
    await seconds(10)
    const seen = (await lines()).slice(from)
    return {
      ok: seen.reduce((sum, { ok }) => sum + ok, 0),
      failed: seen.flatMap(({ failed }) => failed),
      slowest: Math.max(...seen.map(({ slowest }) => slowest)),
    }
  }
  return {
    during,
    stop: async () => {
      await kubectl(['delete', 'pod', name, '-n', NAMESPACE, '--grace-period=0', '--force'])
    },
  }
}

async function manifests(name: string, key: string, perSecond: number): Promise<object[]> {
  const deployment = JSON.parse(await kubectl(['get', 'deployment', 'tenantry-runtime', '-o', 'json']))
  const [{ image }] = deployment.spec.template.spec.containers
  const metadata = { name, namespace: NAMESPACE }
  const labels = { 'tenantry.dev/gateway': 'true', 'pod-security.kubernetes.io/enforce': 'restricted' }
  const env = { TARGET: 'http://tenantry-runtime.tenantry', API_KEY: key, PER_SECOND: String(perSecond) }
  const container = {
    name: 'load',
    image,
    command: ['node', '/load/load.ts'],
    env: Object.entries(env).map(([name, value]) => ({ name, value })),
    volumeMounts: [{ name: 'load', mountPath: '/load' }],
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
  }
  const spec = {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    // A drained node keeps it, else there would be nobody to notice.
    tolerations: [{ operator: 'Exists' }],
    containers: [container],
    volumes: [{ name: 'load', configMap: { name } }],
  }
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'load.ts': await readFile(join(import.meta.dirname, 'load.ts'), 'utf8') } },
    { apiVersion: 'v1', kind: 'Pod', metadata, spec },
  ]
}
