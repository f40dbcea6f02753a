import { beforeAll, describe, expect, test } from 'vitest'
import type { Autoscaler, Deployment } from '../../operator/kubernetes/object.ts'
import { readSettings } from '../../operator/settings.ts'
import { divide, sharersOf, shortage } from '../../operator/shard/budget.ts'
import { replicasOf } from '../../operator/shard/replicas.ts'
import { createNamespace, judge, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { type Manifest, OVERLAYS, podsOf, render } from '../builders/manifests.ts'
import { installCrds } from '../builders/operator.ts'
import { applyAll } from '../builders/shard.ts'

// Kinds of projects that the API server does not know by itself.
const FOREIGN = 'gateway.networking.k8s.io/'

/** `spec.capacity.connections` of a Shard that says nothing. */
const DEFAULT_CONNECTIONS = 80

/** Kinds that rights are given to by the name of one. */
const KINDS: Readonly<Record<string, string>> = {
  deployments: 'Deployment',
  horizontalpodautoscalers: 'HorizontalPodAutoscaler',
  namespaces: 'Namespace',
}

const rendered = new Map<string, Manifest[]>()
let restricted: string

beforeAll(async () => {
  await installCrds()
  for (const overlay of OVERLAYS) rendered.set(overlay, await render(overlay))
  await applyAll('default', allOf('Namespace').slice(0, 1))
  restricted = await createNamespace()
  await kubectl(['label', 'namespace', restricted, 'pod-security.kubernetes.io/enforce=restricted'])
})

function allOf(kind: string): Manifest[] {
  return [...rendered.values()].flat().filter((manifest) => manifest.kind === kind)
}

describe.each(OVERLAYS)('overlay %s', (overlay) => {
  test('is what an API server takes', async () => {
    const manifests = (rendered.get(overlay) ?? []).filter(({ apiVersion }) => !apiVersion.startsWith(FOREIGN))
    const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests })
    const taken = await kubectl(['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '-f', '-'], list)
    expect(taken.trim().split('\n')).toHaveLength(manifests.length)
    printFigure(`overlay ${overlay}: ${manifests.length} manifests accepted`)
  })

  test('K8-01: pods of it are accepted where the restricted level is enforced', async () => {
    const pods = podsOf(rendered.get(overlay) ?? [])
    const accounts = [...new Set(pods.flatMap(([, { spec }]) => spec?.serviceAccountName ?? []))]
    await applyAll(
      restricted,
      accounts.map((name) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } })),
    )
    const verdicts = await Promise.all(pods.map(async ([name, pod]) => [name, await judge(restricted, pod)]))
    expect(verdicts.filter(([, verdict]) => verdict !== 'accepted')).toEqual([])
    expect(verdicts.length).toBeGreaterThanOrEqual(2)
    printFigure(`K8-01: ${verdicts.length}/${verdicts.length} pods of ${overlay} accepted as restricted`)
  })

  test('what rights are given to by name is there, under that name', () => {
    const manifests = rendered.get(overlay) ?? []
    const names = new Map(
      Object.entries(KINDS).map(([plural, kind]) => [
        plural,
        manifests.filter((one) => one.kind === kind).map(({ metadata }) => metadata.name),
      ]),
    )
    const rules = manifests
      .filter(({ kind }) => kind === 'Role')
      .flatMap((role) => role.rules as { resources: string[]; resourceNames?: string[] }[])
    const asked = rules.flatMap(({ resources, resourceNames = [] }) =>
      resources.filter((plural) => plural in KINDS).flatMap((plural) => resourceNames.map((name) => [plural, name] as const)),
    )
    expect(asked.length).toBeGreaterThan(0)
    expect(asked.filter(([plural, name]) => !names.get(plural)?.includes(name))).toEqual([])
  })

  test('HT-15: as many replicas as there can be have the connections that they need of a Shard that says nothing of them', () => {
    const manifests = rendered.get(overlay) ?? []
    const named = (kind: string, name: string) => manifests.find((one) => one.kind === kind && one.metadata.name === name)
    const deployment = named('Deployment', 'tenantry-runtime') as unknown as Deployment
    const autoscaler = named('HorizontalPodAutoscaler', 'tenantry-runtime') as unknown as Autoscaler
    const { count = 0 } = replicasOf(deployment, autoscaler) ?? {}
    expect(count).toBeGreaterThan(autoscaler.spec.maxReplicas)
    const sharers = sharersOf(readSettings({}), count)
    const { perReplica } = divide(DEFAULT_CONNECTIONS, sharers, 0)
    expect(shortage(divide(DEFAULT_CONNECTIONS, sharers, 0), sharers)).toBeUndefined()
    printFigure(
      `HT-15: overlay ${overlay}: at most ${count} replicas at once, ${perReplica} of ${DEFAULT_CONNECTIONS} connections for each`,
    )
  })
})

test('K8-01: a pod that is not confined is refused there', async () => {
  const [, pod] = podsOf(rendered.get('production') ?? [])[0] ?? []
  const free = JSON.parse(JSON.stringify(pod).replaceAll('"allowPrivilegeEscalation":false', '"allowPrivilegeEscalation":true'))
  expect(await judge(restricted, free)).toContain('violates PodSecurity "restricted')
})
