import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { bucketDocument, formatRouting, ROUTING_VERSION, type Route } from '../../config/routing.ts'
import { printFigure } from '../builders/figure.ts'
import { buildDocument } from '../builders/routing.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startReadyRuntime, startRuntime, type World } from '../builders/world.ts'

const PATIENCE = { timeout: 15_000, interval: 50 }
const BUCKET = bucketDocument(0)
const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
let world: World
let acme: RoutedTenant
let runtime: RunningRuntime

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  runtime = await startReadyRuntime(world)
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

const list = async (url = runtime.url) => (await fetch(`${url}/v1/tasks`, { headers: { 'x-api-key': acme.token } })).status
const newer = () => JSON.stringify({ version: ROUTING_VERSION + 1, tenants: { 'of another form': true } })

/** The route with the least that a route ever had. */
function older(): Route {
  const { id, uid, shard, isolation, database, schema, role, epoch, schemaVersion, state, hosts } = acme.tenant.route
  const keys = [{ name: 'web', sha256: createHash('sha256').update(acme.token).digest('hex') }]
  return { id, uid, shard, isolation, database, schema, role, epoch, schemaVersion, state, hosts, keys }
}

test('OP-24: a runtime that meets a newer routing format keeps the last good table, and says so', async () => {
  expect(await list()).toBe(200)
  await world.write(BUCKET, newer())
  const said = () => runtime.lines.find(({ level, document }) => level === 'error' && document === BUCKET)
  await vi.waitFor(() => expect(said()).toBeDefined(), PATIENCE)
  expect(said()).toMatchObject({ msg: expect.stringContaining('newer operator'), faults: [expect.stringContaining('version: is 2')] })
  const metrics = await (await fetch(runtime.metricsUrl)).text()
  expect(metrics).toContain(`tenantry_routing_faults_total{document="${BUCKET}",reason="newer"} 1`)
  expect([await list(), (await fetch(`${runtime.url}/health/ready`)).status]).toEqual([200, 200])
})

test('OP-24: a route that an older operator wrote is served, and so is one that a newer one of the same format wrote', async () => {
  const other = await world.addTenant('globex')
  const asks = async () => (await fetch(`${runtime.url}/v1/tasks`, { headers: { 'x-api-key': other.token } })).status
  await vi.waitFor(async () => expect(await asks()).toBe(200), PATIENCE)
  await world.write(BUCKET, formatRouting(buildDocument([older()])))
  await vi.waitFor(async () => expect([await list(), await asks()]).toEqual([200, 401]), PATIENCE)
  await world.change('acme', { 'of a newer operator': { is: 'passed over' } } as object)
  await vi.waitFor(async () => expect([await list(), await asks()]).toEqual([200, 200]), PATIENCE)
})

test('OP-24: one that starts on a newer format, and so knows nobody, is not ready, and is when it can read', async () => {
  await world.write(BUCKET, newer())
  await world.write('tenantry-routing-shards', newer())
  const starting = await startRuntime(world)
  await vi.waitFor(() => expect(starting.lines.some(({ level }) => level === 'error')).toBe(true), PATIENCE)
  expect([(await fetch(`${starting.url}/health`)).status, (await fetch(`${starting.url}/health/ready`)).status]).toEqual([200, 503])
  expect(await list()).toBe(200)
  await world.write('tenantry-routing-shards', formatRouting(buildDocument([], { 'shard-a': world.database.endpoint })))
  await world.change('acme', {})
  await vi.waitFor(async () => expect(await list(starting.url)).toBe(200), PATIENCE)
  expect(await starting.stop()).toBe(0)
  printFigure('OP-24: an older runtime beside a newer operator: 0 requests failed')
})

test('both programs tell their version: on the command line, in /health and as a metric', async () => {
  for (const program of ['operator', 'runtime']) {
    const { stdout } = await promisify(execFile)(process.execPath, [`${program}/main.ts`, '--version'])
    expect(stdout.trim()).toBe(version)
  }
  expect(await (await fetch(`${runtime.url}/health`)).json()).toEqual({ status: 'ok', version })
  expect(await (await fetch(runtime.metricsUrl)).text()).toContain(`tenantry_build_info{version="${version}"} 1`)
})
