import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds } from '../builders/operator.ts'

type Json = { [field: string]: unknown }
type Stored = Json & { kind: string; metadata: { name: string; uid: string; creationTimestamp: string } }
type Schema = { description?: string; properties?: Record<string, Schema>; items?: Schema }
type Crd = { spec: { names: { kind: string }; versions: [{ schema: { openAPIV3Schema: Schema } }] } }

const PATIENCE = { timeout: 30_000, interval: 200 }
const RELEASES = join('test', 'releases')

/** In a group of its own, so that the test's older CRDs are nobody else's. */
function read(group: string, ...path: string[]): string {
  return readFileSync(join(...path), 'utf8').replaceAll('tenantry.dev', group)
}

/** With one more field of the spec, by which one sees that the schema is in force. */
function marked(text: string): string {
  const [crd] = documents<Crd>(text)
  const spec = crd?.spec.versions[0].schema.openAPIV3Schema.properties?.spec
  Object.assign(spec?.properties ?? {}, { marker: { type: 'string' } })
  return JSON.stringify(crd)
}

function documents<T>(text: string): T[] {
  return parseAllDocuments(text).map((document) => document.toJS() as T)
}

/** Every field below `spec` and `status` that the schema knows. */
function known({ properties = {}, items }: Schema, path = ''): string[] {
  const own = Object.entries(properties).filter(([name]) => path !== '' || name === 'spec' || name === 'status')
  return [
    ...own.flatMap(([name, child]) => [`${path}.${name}`, ...known(child, `${path}.${name}`)]),
    ...(items ? known(items, `${path}[]`) : []),
  ]
}

/** Every field that a value has. */
function given(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((one) => given(one, `${path}[]`))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, child]) => [`${path}.${name}`, ...given(child, `${path}.${name}`)])
}

test.each(readdirSync(RELEASES))(
  'OP-24, K8-07: with the CRDs of today nothing that release %s has stored is pruned or refused',
  async (release) => {
    const group = `v${release.replaceAll('.', '-')}.tenantry.dev`
    const before = ['shard', 'tenant'].map((kind) => read(group, RELEASES, release, `${kind}.yaml`))
    const now = ['shard', 'tenant'].map((kind) => marked(read(group, 'crds', `${kind}.yaml`)))
    const objects = documents<Stored>(read(group, RELEASES, release, 'objects.yaml'))
    for (const { spec } of before.flatMap((text) => documents<Crd>(text))) {
      const all = known(spec.versions[0].schema.openAPIV3Schema)
      const used = new Set(objects.filter(({ kind }) => kind === spec.names.kind).flatMap((object) => given(object)))
      expect(all.filter((field) => !used.has(field))).toEqual([])
    }
    const namespace = await createNamespace()
    const plurals = ['shards', 'tenants'].map((plural) => `${plural}.${group}`)
    const install = async (manifests: string[]) => {
      await kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], manifests.join('\n---\n'))
      await kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...plurals.map((plural) => `crd/${plural}`)])
    }
    const stored = async (): Promise<Stored[]> => JSON.parse(await kubectl(['get', plurals.join(), '-n', namespace, '-o', 'json'])).items
    const crds = async () =>
      JSON.parse(await kubectl(['get', 'crd', '-o', 'json', ...plurals])).items.map(({ metadata, status }: Stored & { status: Json }) => [
        metadata.uid,
        metadata.creationTimestamp,
        status.storedVersions,
      ])
    await install(before)
    for (const plural of plurals) await kubectl(['get', plural, '--all-namespaces'])
    await kubectl(['create', '-n', namespace, '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }))
    for (const { kind, metadata, status } of objects.filter((object) => object.status !== undefined)) {
      await kubectl([
        'patch',
        `${kind.toLowerCase()}s.${group}`,
        metadata.name,
        '-n',
        namespace,
        ...merge({ status }),
        '--subresource=status',
      ])
    }
    const [old, oldCrds] = [await stored(), await crds()]
    expect(old).toMatchObject(objects.toSorted((a, b) => (a.kind < b.kind ? -1 : 1)))

    await install(now)
    expect(await crds()).toEqual(oldCrds)
    // Each is written back once the new schema is in force: a field that it does not know would be gone then.
    for (const { kind, metadata, status } of old) {
      const name = [`${kind.toLowerCase()}s.${group}`, metadata.name, '-n', namespace]
      const write = async () => JSON.parse(await kubectl(['patch', ...name, ...merge({ spec: { marker: 'now' } }), '-o', 'json']))
      await vi.waitFor(async () => expect((await write()).spec.marker).toBe('now'), PATIENCE)
      if (status !== undefined) await kubectl(['patch', ...name, ...merge({ status }), '--subresource=status'])
    }
    const kept = await stored()
    const wanted = old.map(({ kind, spec, status, metadata: { name, uid } }) => ({
      kind,
      spec,
      ...(status ? { status } : {}),
      metadata: { name, uid },
    }))
    expect(kept).toMatchObject(wanted)
    printFigure(`K8-07: ${kept.length} objects of ${release} with ${new Set(objects.flatMap((one) => given(one))).size} fields kept whole`)
    await kubectl(['delete', plurals.join(), '-n', namespace, '--all'])
    await kubectl(['delete', 'crd', ...plurals])
  },
)

const merge = (patch: object) => ['--type=merge', '-p', JSON.stringify(patch)]

/** Each field below a schema, and whether it has a text; `metadata`, which is Kubernetes' own, left out. */
function texts({ properties = {}, items }: Schema, path: string): [field: string, isThere: boolean][] {
  const own = Object.entries(properties).filter(([name]) => name !== 'metadata')
  const below = own.flatMap(([name, child]): [string, boolean][] => [
    [`${path}.${name}`, child.description !== undefined],
    ...texts(child, `${path}.${name}`),
  ])
  return [...below, ...(items === undefined ? [] : texts(items, `${path}[]`))]
}

test('K8-07: kubectl explain has a text for every field that the API server knows', async () => {
  await installCrds()
  // The document of a new kind comes a little after the kind.
  const openapi = JSON.parse(await vi.waitFor(() => kubectl(['get', '--raw', '/openapi/v3/apis/tenantry.dev/v1alpha1']), PATIENCE))
  const fields = ['Shard', 'Tenant'].flatMap((kind) => texts(openapi.components.schemas[`dev.tenantry.v1alpha1.${kind}`], kind))
  expect(fields.filter(([, isThere]) => !isThere)).toEqual([])
  expect(fields.length).toBeGreaterThan(100)
  expect(await kubectl(['explain', 'tenants.spec.limits.burst'])).toMatch(/DESCRIPTION:\s+\S+/)
  printFigure(`K8-07: fields without text 0 of ${fields.length}`)
})
