import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { installCrds } from '../builders/operator.ts'
import { shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

let namespace: string

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
})

/** What the API server says of an object, without keeping it. */
function judge(manifest: object): Promise<string> {
  const judged = kubectl(['create', '--dry-run=server', '-n', namespace, '-f', '-'], JSON.stringify(manifest))
  return judged.then(
    () => 'accepted',
    (error: Error) => error.message,
  )
}

const tenant = (spec: object) => tenantManifest('acme', spec)
const named = (name: string) => tenantManifest(name)
const shard = (changes: object) => shardManifest('shard-a', { ...shardSpec('tenantry'), ...changes })
const at = (endpoint: object) => shard({ endpoint: { host: 'db', ...endpoint } })
const selector = (shardSelector: object) => tenant({ placement: { shardSelector } })

const cases: [rule: string, accepted: object, rejected: object, complaint: RegExp][] = [
  ['Tenant name', named('a'.repeat(40)), named('a'.repeat(41)), /DNS label of at most 40 characters/],
  ['Tenant name, letters', named('a-1'), named('a.b'), /DNS label/],
  [
    'shardRef or placement',
    tenant({ shardRef: { name: 'x' } }),
    tenant({ shardRef: { name: 'x' }, placement: { shardSelector: { matchLabels: { a: 'b' } } } }),
    /exclude each other/,
  ],
  ['selector not empty', selector({ matchLabels: { a: 'b' } }), selector({}), /needs matchLabels or matchExpressions/],
  [
    'selector values',
    selector({ matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] }),
    selector({ matchExpressions: [{ key: 'a', operator: 'In' }] }),
    /give values with In and NotIn/,
  ],
  [
    'selector without values',
    selector({ matchExpressions: [{ key: 'a', operator: 'Exists' }] }),
    selector({ matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] }),
    /none with Exists/,
  ],
  ['hosts', tenant({ hosts: ['tasks.acme.example'] }), tenant({ hosts: ['https://acme.example'] }), /full host names in lower case/],
  ['hosts, case', tenant({ hosts: ['a.b'] }), tenant({ hosts: ['A.b'] }), /full host names in lower case/],
  ['hosts once', tenant({ hosts: ['a.b', 'a.c'] }), tenant({ hosts: ['a.b', 'a.b'] }), /Duplicate value/],
  ['API key name', tenant({ apiKeys: [{ name: 'web-1' }] }), tenant({ apiKeys: [{ name: 'Web' }] }), /DNS label of at most 40/],
  [
    'API keys once',
    tenant({ apiKeys: [{ name: 'a' }, { name: 'b' }] }),
    tenant({ apiKeys: [{ name: 'a' }, { name: 'a' }] }),
    /Duplicate value/,
  ],
  ['isolation', tenant({ isolation: 'database' }), tenant({ isolation: 'server' }), /supported values: "row", "schema", "database"/],
  ['isolations', shard({ isolations: ['row'] }), shard({ isolations: [] }), /at least 1 items/],
  ['deletionPolicy', tenant({ deletionPolicy: 'Delete' }), tenant({ deletionPolicy: 'Drop' }), /supported values: "Retain", "Delete"/],
  [
    'adopt',
    tenant({ adopt: '0197fbd2-6d0e-7000-8000-000000000001' }),
    tenant({ adopt: '0197FBD2-6D0E-7000-8000-000000000001' }),
    /must be the UID of a former Tenant/,
  ],
  ['Shard name', shardManifest('shard-a', shardSpec('x')), shardManifest('shard.a', shardSpec('x')), /DNS label of at most 63/],
  ['host', at({ host: '10.0.0.1' }), at({ host: 'postgres://db' }), /without scheme, port or path/],
  ['port', at({ port: 65_535 }), at({ port: 65_536 }), /less than or equal to 65535/],
  ['database', at({ database: 'tenantry_1' }), at({ database: 'Tenantry; DROP' }), /lower-case letters, digits and "_"/],
  ['database length', at({ database: 'a'.repeat(50) }), at({ database: 'a'.repeat(51) }), /(more|longer) than 50/],
  ['database not of Postgres', at({ database: 'postgres1' }), at({ database: 'postgres' }), /not be a database of Postgres itself/],
  ['database without the prefix of Postgres', at({ database: 'pgx' }), at({ database: 'pg_x' }), /must not begin with pg_/],
  ['verify-full needs a CA', shard({}), shard({ tls: {} }), /verify-full needs spec.tls.caSecretRef/],
  [
    'a CA needs verify-full',
    shard({ tls: { mode: 'require' } }),
    shard({ tls: { mode: 'require', caSecretRef: { name: 'ca' } } }),
    /only used with mode verify-full/,
  ],
  ['tls', shard({ tls: { mode: 'disable' } }), shard({ tls: undefined }), /spec.tls: Required value/],
  ['warmSchemas', shard({ warmSchemas: 0 }), shard({ warmSchemas: 101 }), /less than or equal to 100/],
  ['capacity', shard({ capacity: { tenants: 1 } }), shard({ capacity: { tenants: 0 } }), /greater than or equal to 1/],
]

test.each(cases)(
  'K8-05: %s: accepts what is right, says what to write instead of what is not',
  async (_, accepted, rejected, complaint) => {
    expect(await judge(accepted)).toBe('accepted')
    expect(await judge(rejected)).toMatch(complaint)
  },
)

describe('K8-05: rules about changes', () => {
  test('the database of a Shard stays, its host may change', async () => {
    const create = (spec: object) => kubectl(['apply', '-n', namespace, '-f', '-'], JSON.stringify(shardManifest('steady', spec)))
    await create(shardSpec('one'))
    await create(shardSpec('one', { schedulable: false }))
    await expect(create(shardSpec('two'))).rejects.toThrow(/cannot be changed/)
  })

  test('what a Tenant adopts is said once', async () => {
    const adopt = '0197fbd2-6d0e-7000-8000-000000000001'
    const change = (spec: object) => kubectl(['apply', '-n', namespace, '-f', '-'], JSON.stringify(tenantManifest('adopter', spec)))
    await change({ adopt })
    for (const spec of [{ adopt: adopt.replace('1', '2') }, {}]) await expect(change(spec)).rejects.toThrow(/stays/)
  })

  test('a placed Tenant names its own Shard or none', async () => {
    const change = (spec: object) => kubectl(['apply', '-n', namespace, '-f', '-'], JSON.stringify(tenantManifest('settled', spec)))
    await change({})
    await kubectl([
      'patch',
      'tenant',
      'settled',
      '-n',
      namespace,
      '--subresource=status',
      '--type=merge',
      '-p',
      '{"status":{"shard":"shard-a"}}',
    ])
    await change({ shardRef: { name: 'shard-a' } })
    await expect(change({ shardRef: { name: 'shard-b' } })).rejects.toThrow(/lives on another Shard and cannot be moved yet/)
  })
})

test.each(['shard', 'tenant'])('K8-07: every field of %s.yaml has a description', async (kind) => {
  const crd = parse(await readFile(`crds/${kind}.yaml`, 'utf8'))
  expect(undescribed(crd.spec.versions[0].schema.openAPIV3Schema, kind)).toEqual([])
})

test('short name, category and defaults', async () => {
  await kubectl(
    ['apply', '-n', namespace, '-f', '-'],
    JSON.stringify({ apiVersion: 'tenantry.dev/v1alpha1', kind: 'Tenant', metadata: { name: 'bare' } }),
  )
  expect(JSON.parse(await kubectl(['get', 'tn', 'bare', '-n', namespace, '-o', 'json'])).spec).toEqual({
    deletionPolicy: 'Retain',
    isolation: 'schema',
  })
  expect(await kubectl(['get', 'tenantry', '-n', namespace])).toContain('bare')
})

type Schema = { description?: string; properties?: Record<string, Schema>; items?: Schema }

function undescribed(schema: Schema, path: string): string[] {
  const children = Object.entries(schema.properties ?? {})
  const missing = children
    .filter(([name, child]) => child.description === undefined && name !== 'metadata')
    .map(([name]) => `${path}.${name}`)
  const nested = children.flatMap(([name, child]) => undescribed(child, `${path}.${name}`))
  return [...missing, ...nested, ...(schema.items === undefined ? [] : undescribed(schema.items, `${path}[]`))]
}
