import { randomBytes } from 'node:crypto'
import type { Client } from 'pg'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import type { TenantStatus } from '../../crds/tenant.ts'
import { shardNames } from '../../operator/postgres/names.ts'
import { neighboursOf } from '../../operator/postgres/neighbours.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { dumpCatalog } from '../builders/dump.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectTo } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

const PATIENCE = { timeout: 40_000, interval: 100 }
const place = `test_${randomBytes(4).toString('hex')}`
/** Two platforms on one server; the author may create Tenants in the first and nothing else anywhere. */
const [mine, theirs] = [`${place}_a`, `${place}_b`]
const operators: RunningOperator[] = []
let a: string
let b: string
let inside: Client

beforeAll(async () => {
  await installCrds()
  ;[a, b] = [await createNamespace(), await createNamespace()]
  for (const [namespace, database, shard] of [
    [a, mine, 'shard-a'],
    [b, theirs, 'shard-b'],
  ] as const) {
    await applyShardSecrets(namespace)
    await applyAll(namespace, [shardManifest(shard, shardSpec(database, { warmSchemas: 0 }))])
    operators.push(await startOperator(namespace))
    await kubectl(['wait', '-n', namespace, '--for=condition=Ready', `shard/${shard}`, '--timeout=40s'])
  }
  await kubectl(['create', 'serviceaccount', 'author', '-n', a])
  await kubectl(['create', 'role', 'author', '-n', a, '--verb=create,get', '--resource=tenants.tenantry.dev'])
  await kubectl(['create', 'rolebinding', 'author', '-n', a, '--role=author', `--serviceaccount=${a}:author`])
  await applyAll(b, [tenantManifest('alive'), tenantManifest('kept'), tenantManifest('held', { isolation: 'database' })])
  await applyAll(a, [tenantManifest('colleague', { hosts: ['tasks.colleague.example'] })])
  for (const name of ['alive', 'kept', 'held']) await kubectl(['wait', '-n', b, '--for=condition=Ready', `tenant/${name}`, '--timeout=60s'])
  await kubectl(['wait', '-n', a, '--for=condition=Ready', 'tenant/colleague', '--timeout=40s'])
  inside = await connectTo(inject('postgres'), theirs)
})

afterAll(async () => {
  await inside?.end()
  await Promise.all(operators.map((operator) => operator.stop()))
})

const asAuthor = (args: string[], input?: object) =>
  kubectl([...args, `--as=system:serviceaccount:${a}:author`], input === undefined ? '' : JSON.stringify(input)).then(
    () => 'done',
    (error: Error) => error.message,
  )
const create = (manifest: object, namespace = a) => asAuthor(['create', '-n', namespace, '-f', '-'], manifest)
const read = async (kind: string, name: string, namespace: string) =>
  JSON.parse(await kubectl(['get', kind, name, '-n', namespace, '-o', 'json']))
const statusOf = async (name: string): Promise<TenantStatus> => (await read('tenant', name, a)).status ?? {}
const uidOf = async (name: string, namespace: string): Promise<string> => (await read('tenant', name, namespace)).metadata.uid
const routing = () => kubectl(['get', 'configmaps', '-n', a, '-l', 'tenantry.dev/routing', '-o', 'jsonpath={.items[*].data}'])

/** What the Tenant says of itself when the operator has looked at this generation of it. */
async function reasonOf(name: string): Promise<string> {
  return vi.waitFor(async () => {
    const ready = (await statusOf(name)).conditions?.find(({ type }) => type === 'Ready')
    expect(ready?.reason).not.toBe('InProgress')
    return ready?.reason ?? expect.unreachable()
  }, PATIENCE)
}

/** What was tried, and whether it was refused. */
type Attempt = [what: string, refused: boolean]
type Uids = Record<'alive' | 'kept' | 'held' | 'colleague', string>

async function askForRights(): Promise<Attempt[]> {
  const attempts: Attempt[] = [['a Tenant of b', /forbidden/.test(await create(tenantManifest('mine'), b))]]
  for (const verb of ['get', 'create'])
    for (const what of ['secrets', 'configmaps', 'shards.tenantry.dev'])
      for (const namespace of [a, b])
        attempts.push([`${verb} ${what}`, (await asAuthor(['auth', 'can-i', verb, what, '-n', namespace])) !== 'done'])
  return attempts
}

async function pointAtShards(): Promise<Attempt[]> {
  const attempts: Attempt[] = []
  for (const [index, shard] of ['shard-b', `${b}/shard-b`, `../${b}/shards/shard-b`, `shard-b.${b}`, "shard-b'; --"].entries()) {
    await create(tenantManifest(`points-${index}`, { shardRef: { name: shard } }))
    const reason = await reasonOf(`points-${index}`)
    attempts.push([`the Shard ${shard}`, reason === 'ShardNotFound' && (await statusOf(`points-${index}`)).shard === undefined])
  }
  return attempts
}

async function adoptOthers(uids: Uids): Promise<Attempt[]> {
  const wanted = { ...uids, neighbour: neighboursOf(shardNames(mine)).schema, stranger: neighboursOf(shardNames(theirs)).row }
  const attempts: Attempt[] = []
  for (const isolation of ['row', 'schema', 'database'])
    for (const [whose, adopt] of Object.entries(wanted)) {
      const name = `adopts-${whose}-${isolation}`
      await create(tenantManifest(name, { isolation, adopt, deletionPolicy: 'Delete' }))
      attempts.push([name, (await reasonOf(name)) === 'AdoptRefused' && (await statusOf(name)).schema === undefined])
      await kubectl(['delete', 'tenant', name, '-n', a, '--timeout=40s'])
    }
  const routes = await routing()
  attempts.push(['the route of the colleague', routes.includes(uids.colleague)])
  for (const whose of ['alive', 'kept', 'held'] as const) attempts.push([`a route to ${whose}`, !routes.includes(uids[whose])])
  return attempts
}

async function forge(uids: Uids): Promise<Attempt[]> {
  await create(tenantManifest('steals', { hosts: ['tasks.colleague.example'] }))
  const stolen = (await reasonOf('steals')) === 'HostTaken' && (await routing()).split('tasks.colleague.example').length === 2
  const { schema, role } = await statusOf('colleague')
  const status = { schema, role, shard: 'shard-a', database: mine, isolation: 'schema', epoch: 1, schemaVersion: 2 }
  const placed = JSON.stringify({ uid: uids.colleague, shard: 'shard-b', reason: 'NamedShard', message: '' })
  await create({ ...tenantManifest('forged'), metadata: { name: 'forged', annotations: { 'tenantry.dev/placed': placed } }, status })
  const ready = (await reasonOf('forged')) === 'TenantReady'
  const made = await statusOf('forged')
  return [
    ["a neighbour's host", stolen],
    ['a status of its own making', ready && made.schema !== schema],
    ["a neighbour's placement", made.shard === 'shard-a'],
  ]
}

test('OP-26: who may only create Tenants in one namespace reaches nothing of another, nor of a neighbour', async () => {
  const [alive, kept, held] = [await uidOf('alive', b), await uidOf('kept', b), await uidOf('held', b)]
  const uids = { alive, kept, held, colleague: await uidOf('colleague', a) }
  for (const name of ['kept', 'held']) await kubectl(['delete', 'tenant', name, '-n', b, '--timeout=40s'])
  const before = await dumpCatalog(inside)
  const attempts = [...(await askForRights()), ...(await pointAtShards()), ...(await adoptOthers(uids)), ...(await forge(uids))]
  const bypasses = attempts.filter(([, refused]) => !refused).map(([what]) => what)
  expect(bypasses).toEqual([])
  expect(await dumpCatalog(inside)).toEqual(before)
  printFigure(`OP-26: ${attempts.length} attempts, bypasses ${bypasses.length}`)
})

const TEXTS = [
  "'; DROP SCHEMA tenantry CASCADE; --",
  '$(id)',
  '{{ .Values.x }}',
  '<%= process.env.HOME %>',
  'a: !!js/function >\n  x',
  '"\u2028\\" OR 1=1',
  ':role',
]

test('OP-26: text in a spec never becomes SQL, YAML or a template', async () => {
  const own = await connectTo(inject('postgres'), mine)
  const before = await dumpCatalog(own)
  const spec = (text: string) => ({ isolation: 'row', displayName: text })
  for (const [index, text] of TEXTS.entries()) {
    expect(await create(tenantManifest(`text-${index}`, spec(text)))).toBe('done')
    expect(await reasonOf(`text-${index}`)).toBe('TenantReady')
    expect((await read('tenant', `text-${index}`, a)).spec.displayName).toBe(text)
    for (const field of [{ hosts: [text] }, { apiKeys: [{ name: text }] }, { adopt: text }, { subscriptionEndsAt: text }])
      expect(await create(tenantManifest('refused', field))).toMatch(/invalid|must be/i)
    expect(await create(tenantManifest(text))).toMatch(/invalid|must be/i)
  }
  // Row tenants add rows alone.
  expect(await dumpCatalog(own)).toEqual(before)
  for (const operator of operators) expect(operator.lines.filter((line) => JSON.parse(line).level >= 50)).toEqual([])
  await own.end()
})
