import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { dumpCatalog } from '../builders/catalog-dump.ts'
import { createNamespace, kubectl } from '../builders/cluster.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { dumpCatalog as dumpAll } from '../builders/dump.ts'
import { printFigure } from '../builders/figure.ts'
import { installCrds, type RunningOperator, startOperator } from '../builders/operator.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { applyAll, applyShardSecrets, secret, shardManifest, shardSpec } from '../builders/shard.ts'
import { tenantManifest } from '../builders/tenant.ts'

/** An installation: a namespace with an operator, a process of its own. */
type Platform = { namespace: string; operator: RunningOperator }

const PATIENCE = { timeout: 40_000, interval: 100 }
const disputed = `test_${randomBytes(4).toString('hex')}`
const platforms: Platform[] = []

beforeAll(async () => {
  await installCrds()
  for (let number = 0; number < 2; number++) {
    const namespace = await createNamespace()
    await applyShardSecrets(namespace)
    platforms.push({ namespace, operator: await start(namespace) })
  }
})

afterAll(() => Promise.all(platforms.map(({ operator }) => operator.stop())))

/** Under one identity, as a pod that is started again in its place: the Lease is its own. */
const start = (namespace: string) => startOperator(namespace, { TENANTRY_IDENTITY: namespace })

const get = async ({ namespace }: Platform, ...what: string[]) => JSON.parse(await kubectl(['get', '-n', namespace, '-o', 'json', ...what]))
const applyShard = ({ namespace }: Platform, database: string) =>
  applyAll(namespace, [shardManifest('shard-a', shardSpec(database, { warmSchemas: 1 }))])
const ready = ({ namespace }: Platform, ...what: string[]) =>
  kubectl(['wait', '-n', namespace, '--for=condition=Ready', ...what, '--timeout=60s'])
const condition = async (platform: Platform, object: string) =>
  (await get(platform, object)).status?.conditions?.find(({ type }: { type: string }) => type === 'Ready')

async function fill(platform: Platform, spec: object): Promise<void> {
  const tenants = ISOLATIONS.map((isolation) => tenantManifest(isolation, { isolation, ...spec }))
  await applyAll(platform.namespace, tenants)
  await ready(platform, 'tenant', '--all')
}

async function uidsOf(platform: Platform): Promise<Map<string, string>> {
  const { items } = await get(platform, 'tenants')
  return new Map(items.map(({ metadata }: { metadata: { name: string; uid: string } }) => [metadata.name, metadata.uid]))
}

/** All that stands in Postgres of the tenants. */
async function catalogOf(database: string, uids: ReadonlyMap<string, string>): Promise<string[][]> {
  return Promise.all([...uids].map(([name, uid]) => dumpCatalog(database, { name, uid })))
}

const TITLE =
  'OP-19: two operators that are aimed at one database at once: one has it, the other is told whose it is, and neither touches what is the other’s'

test(TITLE, { timeout: 180_000 }, async () => {
  await Promise.all(platforms.map((platform) => applyShard(platform, disputed)))
  const [first, second] = await vi.waitFor(async () => {
    const states = await Promise.all(platforms.map(async (platform) => ({ platform, said: await condition(platform, 'shard/shard-a') })))
    const [has, lacks] = [states.find(({ said }) => said?.status === 'True'), states.find(({ said }) => said?.reason === 'NameConflict')]
    if (has === undefined || lacks === undefined) throw new Error(JSON.stringify(states.map(({ said }) => said)))
    const { data } = await get(has.platform, 'configmap', 'tenantry-installation')
    expect(lacks.said.message).toContain(`Shard ${has.platform.namespace}/shard-a of installation ${data.id}`)
    return [has.platform, lacks.platform]
  }, PATIENCE)
  await fill(first, { deletionPolicy: 'Delete' })
  const uids = await uidsOf(first)
  const before = await catalogOf(disputed, uids)
  expect(before.flat().length).toBeGreaterThan(100)

  const own = `${disputed}_b`
  await kubectl(['delete', 'shard', 'shard-a', '-n', second.namespace, '--timeout=40s'])
  await applyShard(second, own)
  await ready(second, 'shard/shard-a')
  await fill(second, { deletionPolicy: 'Delete' })
  const theirs = await uidsOf(second)
  expect((await catalogOf(own, theirs)).map((lines) => lines.length)).toEqual(before.map((lines) => lines.length))
  const thieves = ISOLATIONS.map((isolation) =>
    tenantManifest(`thief-${isolation}`, { isolation, adopt: uids.get(isolation), deletionPolicy: 'Delete' }),
  )
  await applyAll(second.namespace, thieves)
  for (const isolation of ISOLATIONS)
    await vi.waitFor(
      async () => expect(await condition(second, `tenant/thief-${isolation}`)).toMatchObject({ status: 'False', reason: 'AdoptRefused' }),
      PATIENCE,
    )
  await second.operator.kill()
  second.operator = await start(second.namespace)
  await kubectl(['delete', 'tenants,shards', '--all', '-n', second.namespace, '--timeout=90s'])
  expect(await catalogOf(disputed, uids)).toEqual(before)
  await ready(first, 'tenant', '--all')
  printFigure(
    `OP-19: two operators on one server, ${before.flat().length} catalog lines of the one unchanged by the whole life of the other`,
  )
})

test('OP-19: an operator with a login of its own is told whose the database is, never to take it over, and touches nothing on the way', {
  timeout: 120_000,
}, async () => {
  const [first, second] = platforms
  if (first === undefined || second === undefined) throw new Error('there are two')
  const place = `${disputed}_c`
  const root = await connectAsSuperuser(inject('postgres'), 'postgres')
  const login = `${disputed}_other`
  await root.query(`CREATE ROLE ${login} LOGIN CREATEROLE CREATEDB PASSWORD 'other'`)
  for (const { namespace } of platforms) await kubectl(['delete', 'tenants,shards', '--all', '-n', namespace, '--timeout=90s'])
  await applyShard(first, place)
  await ready(first, 'shard/shard-a')
  await fill(first, {})
  const uids = await uidsOf(first)
  const inside = await connectAsSuperuser(inject('postgres'), place)
  // The ready schema that a tenant has taken is made anew when there is time for it.
  await vi.waitFor(async () => expect((await inside.query('SELECT FROM tenantry.spares')).rows).toHaveLength(1), PATIENCE)
  const whole = async () => [await dumpAll(inside), ...(await catalogOf(place, uids))]
  const before = await whole()

  const { data } = await get(first, 'configmap', 'tenantry-installation')
  await applyAll(second.namespace, [secret('postgres-admin', { username: login, password: 'other' })])
  await applyShard(second, place)
  await applyAll(second.namespace, [tenantManifest('waits', {}), tenantManifest('named', { shardRef: { name: 'shard-a' } })])
  const whose = `belongs to "tenantry: Shard ${first.namespace}/shard-a of installation ${data.id}"`
  await vi.waitFor(async () => {
    const said = await condition(second, 'shard/shard-a')
    expect(said).toMatchObject({ status: 'False', reason: 'NameConflict', message: expect.stringContaining(whose) })
    expect(said.message).toContain('name another in spec.endpoint.database')
    expect(said.message).not.toContain('OWNER')
    for (const name of ['waits', 'named']) expect((await condition(second, `tenant/${name}`))?.message).toContain(said.message)
  }, PATIENCE)
  await kubectl(['delete', 'tenants,shards', '--all', '-n', second.namespace, '--timeout=90s'])
  expect(await whole()).toEqual(before)
  await ready(first, 'tenant', '--all')
  const owned = await root.query('SELECT FROM pg_database WHERE pg_get_userbyid(datdba) = $1', [login])
  expect(owned.rows).toEqual([])
  await inside.end()
  await root.query(`DROP ROLE ${login}`)
  await root.end()
  printFigure(`OP-19: ${before.flat().length} catalog lines unchanged by an operator with another login`)
})
