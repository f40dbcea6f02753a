import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, inject, test, vi } from 'vitest'
import { parse } from 'yaml'
import { createNamespace, judge, kubectl } from '../builders/cluster.ts'
import { installCrds } from '../builders/operator.ts'
import { shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
let namespace: string

beforeAll(async () => {
  await installCrds()
  namespace = await createNamespace()
})

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
  ['suspended', tenant({ suspended: true }), tenant({ suspended: 'yes' }), /must be of type boolean/],
  [
    'subscriptionEndsAt',
    tenant({ subscriptionEndsAt: '2027-01-31T00:00:00+01:00' }),
    tenant({ subscriptionEndsAt: '1999-01-31T00:00:00Z' }),
    /RFC 3339 from the year 2000 on, such as/,
  ],
  ...['tomorrow', '2027-01-31', '2027-01-31T00:00:00', '2027-01-31T00:00:00,5Z', '2027-01-31T00:00:00+99:99'].map(
    (end): [string, object, object, RegExp] => [
      `subscriptionEndsAt, not ${end}`,
      tenant({ subscriptionEndsAt: '2027-01-31T00:00:00.5Z' }),
      tenant({ subscriptionEndsAt: end }),
      /subscriptionEndsAt/,
    ],
  ),
  ['plan', tenant({ plan: 'premium' }), tenant({ plan: 'gold' }), /supported values: "free", "basic", "premium"/],
  [
    'limits',
    tenant({ limits: { connections: 3 } }),
    tenant({ limits: { connections: 2 } }),
    /spec.limits.connections in body should be greater than or equal to 3/,
  ],
  [
    'limits, tasks',
    tenant({ limits: { tasks: 0 } }),
    tenant({ limits: { tasks: -1 } }),
    /spec.limits.tasks in body should be greater than or equal to 0/,
  ],
  ...(['requestsPerSecond', 'burst', 'concurrency', 'storageMiB'] as const).map((limit): [string, object, object, RegExp] => [
    `limits, ${limit}`,
    tenant({ limits: { [limit]: 1 } }),
    tenant({ limits: { [limit]: 0 } }),
    /should be greater than or equal to 1/,
  ]),
  ...[
    '*',
    'https://*.acme.example',
    'https://app.acme.example/',
    'https://App.acme.example',
    'https://a.b:443',
    'http://a.b:80',
    'null',
  ].map((origin): [string, object, object, RegExp] => [
    `allowedOrigins, not ${origin}`,
    tenant({ settings: { allowedOrigins: ['https://app.acme.example', 'http://localhost:5173'], other: { is: 'kept' } } }),
    tenant({ settings: { allowedOrigins: [origin] } }),
    /must be origins as browsers send them/,
  ]),
  ...['taskRetentionDays', 'auditRetentionDays', 'eventRetentionDays'].map((days): [string, object, object, RegExp] => [
    days,
    tenant({ settings: { [days]: 1 } }),
    tenant({ settings: { [days]: 0 } }),
    /should be greater than or equal to 1/,
  ]),
  ['settings', tenant({ settings: { theme: { dark: true } } }), tenant({ settings: 'dark' }), /must be of type object/],
  [
    'settings, not too many',
    tenant({ settings: { one: 1 } }),
    tenant({ settings: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`s${index}`, index])) }),
    /must have at most 64 (items|properties)/,
  ],
  ['deletionProtection', tenant({ deletionProtection: true }), tenant({ deletionProtection: 1 }), /must be of type boolean/],
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
  [
    'the name of the admin Secret',
    shard({ adminSecretRef: { name: 'shard-a.admin' } }),
    shard({ adminSecretRef: { name: '%I' } }),
    /spec.adminSecretRef.name must be the name of a Secret/,
  ],
  [
    'the name of the CA Secret',
    shard({ tls: { caSecretRef: { name: 'shard-a.ca' } } }),
    shard({ tls: { caSecretRef: { name: '../ca' } } }),
    /spec.tls.caSecretRef.name must be the name of a Secret/,
  ],
  ['verify-full needs a CA', shard({}), shard({ tls: {} }), /verify-full needs spec.tls.caSecretRef/],
  [
    'a CA needs verify-full',
    shard({ tls: { mode: 'require' } }),
    shard({ tls: { mode: 'require', caSecretRef: { name: 'ca' } } }),
    /only used with mode verify-full/,
  ],
  ['tls', shard({ tls: { mode: 'disable' } }), shard({ tls: undefined }), /spec.tls: Required value/],
  [
    'the login of a tenant, rotateAfter',
    tenant({ isolation: 'database', credentials: { rotateAfter: '720h' } }),
    tenant({ isolation: 'database', credentials: { rotateAfter: '30d' } }),
    /such as 720h/,
  ],
  [
    'the login of a tenant, isolation',
    tenant({ isolation: 'database', credentials: { rotateAfter: '1m' } }),
    tenant({ isolation: 'schema', credentials: { rotateAfter: '1m' } }),
    /is for isolation database/,
  ],
  ['rotateAfter', shard({ credentials: { rotateAfter: '1h30m' } }), shard({ credentials: { rotateAfter: '59s' } }), /at least one minute/],
  ['rotateAfter, unit', shard({ credentials: { rotateAfter: '720h' } }), shard({ credentials: { rotateAfter: '30d' } }), /such as 720h/],
  [
    'rotateAt',
    tenant({ apiKeys: [{ name: 'a', rotateAt: '2027-01-01T00:00:00Z' }] }),
    tenant({ apiKeys: [{ name: 'a', rotateAt: 'tomorrow' }] }),
    /must be of type date-time/,
  ],
  ['warmSchemas', shard({ warmSchemas: 0 }), shard({ warmSchemas: 101 }), /less than or equal to 100/],
  ['capacity', shard({ capacity: { tenants: 1 } }), shard({ capacity: { tenants: 0 } }), /greater than or equal to 1/],
  ['connections', shard({ capacity: { connections: 10 } }), shard({ capacity: { connections: 9 } }), /greater than or equal to 10/],
]

test.each(cases)(
  'K8-05: %s: accepts what is right, says what to write instead of what is not',
  async (_, accepted, rejected, complaint) => {
    expect(await judge(namespace, accepted)).toBe('accepted')
    expect(await judge(namespace, rejected)).toMatch(complaint)
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

describe('K8-05: a Tenant that is protected', () => {
  const create = (name: string, deletionProtection: boolean, where = namespace) =>
    kubectl(['apply', '-n', where, '-f', '-'], JSON.stringify(tenantManifest(name, { deletionProtection })))
  const list = async (where: string) => JSON.parse(await kubectl(['get', 'tenants', '-n', where, '-o', 'json'])).items

  test('is not deleted, by name or with all others, until it says so itself; the refusal says how', async () => {
    const where = await createNamespace()
    await create('open', false, where)
    await create('shut', true, where)
    await kubectl(['delete', 'tenant', 'open', '-n', where])
    const how = `kubectl patch tenant shut -n ${where} --type merge -p '{"spec":{"deletionProtection":false}}'`
    const refused = (...args: string[]) => kubectl(['delete', ...args, '-n', where]).then(String, (error: Error) => error.message)
    expect(await refused('tenant', 'shut')).toContain(how)
    expect(await refused('--raw', `/apis/tenantry.dev/v1alpha1/namespaces/${where}/tenants`)).toContain('is protected from deletion')
    expect((await list(where)).map(({ metadata }: { metadata: { deletionTimestamp?: string } }) => metadata.deletionTimestamp)).toEqual([
      undefined,
    ])
    await kubectl(['patch', 'tenant', 'shut', '-n', where, '--type', 'merge', '-p', '{"spec":{"deletionProtection":false}}'])
    await kubectl(['delete', 'tenant', 'shut', '-n', where])
  })

  test.skipIf(!inject('kubernetes').garbageCollection)('holds its namespace, which goes once the protection is off', async () => {
    const where = await createNamespace()
    await create('shut', true, where)
    await kubectl(['delete', 'namespace', where, '--wait=false'])
    const conditions = async () => JSON.parse(await kubectl(['get', 'namespace', where, '-o', 'json'])).status.conditions ?? []
    await vi.waitFor(async () => expect(JSON.stringify(await conditions())).toContain('is protected from deletion'), PATIENCE)
    expect((await list(where))[0].metadata.deletionTimestamp).toBeUndefined()
    await kubectl(['patch', 'tenant', 'shut', '-n', where, '--type', 'merge', '-p', '{"spec":{"deletionProtection":false}}'])
    await kubectl(['wait', '--for=delete', `namespace/${where}`, '--timeout=60s'])
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
    deletionProtection: false,
    isolation: 'schema',
    plan: 'free',
    suspended: false,
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
