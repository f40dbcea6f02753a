import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import type { KubeObject, Resource } from '../../operator/kubernetes/object.ts'

/** A kind of the tests' own, with a status subresource. */
export type Widget = KubeObject<{ wanted?: string; shard?: string }, { seen?: string; note?: string }>
export const WIDGETS: Resource<Widget> = { group: 'test.tenantry.dev', version: 'v1', plural: 'widgets', kind: 'Widget' }

const text = { type: 'string' }
const WIDGET_SCHEMA = {
  type: 'object',
  properties: {
    spec: { type: 'object', properties: { wanted: text, shard: text } },
    status: { type: 'object', properties: { seen: text, note: text } },
  },
}

/** Runs kubectl as the cluster's administrator; `input` goes to its standard input. */
export async function kubectl(args: readonly string[], input = ''): Promise<string> {
  const { kubectl: program, kubeconfig } = inject('kubernetes')
  const running = promisify(execFile)(program, ['--kubeconfig', kubeconfig, ...args])
  // A kubectl that ends before it has read says itself why, or needed nothing of it.
  running.child.stdin?.on('error', () => undefined).end(input)
  return (await running).stdout
}

/** Makes a namespace that no other test has; gives its name. */
export async function createNamespace(): Promise<string> {
  const name = `test-${randomBytes(4).toString('hex')}`
  await kubectl(['create', 'namespace', name])
  return name
}

/** Makes the Widget kind known to the API server; any number of tests may do so at once. */
export async function installWidgets(): Promise<void> {
  const names = { plural: WIDGETS.plural, singular: 'widget', kind: WIDGETS.kind }
  const version = { name: 'v1', served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema: WIDGET_SCHEMA } }
  const definition = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${WIDGETS.plural}.${WIDGETS.group}` },
    spec: { group: WIDGETS.group, scope: 'Namespaced', names, versions: [version] },
  }
  await kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(definition))
  await kubectl(['wait', '--for=condition=Established', `crd/${definition.metadata.name}`, '--timeout=30s'])
  // Established is said before the kind is served: the first call waits for it.
  await kubectl(['get', definition.metadata.name, '--all-namespaces'])
}

/** What the API server says of an object, without keeping it: `accepted`, or its complaint. */
export function judge(namespace: string, manifest: object): Promise<string> {
  const judged = kubectl(['create', '--dry-run=server', '-n', namespace, '-f', '-'], JSON.stringify(manifest))
  return judged.then(
    () => 'accepted',
    (error: Error) => error.message,
  )
}
