import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatRouting, parseRouting } from '../../config/routing.ts'
import { MISSING, sendRaw, sendTo } from '../builders/http.ts'
import { buildDocument, buildRoute } from '../builders/routing.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const APP = 'https://app.acme.example'
const SHOP = 'https://shop.globex.example:8443'
const EVIL = 'https://evil.example'

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let globex: RoutedTenant
let closed: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme', { settings: { allowedOrigins: [APP, 'http://localhost:5173'] } })
  globex = await world.addTenant('globex', { settings: { allowedOrigins: [SHOP] }, hosts: ['tasks.globex.example'] })
  closed = await world.addTenant('closed')
  runtime = await startRuntime(world, { TENANTRY_BASE_DOMAIN: 'tenantry.test' })
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

/** The headers of an answer to a browser that asks first, as one object. */
async function preflight(origin: string, host: string, path = '/v1/tasks'): Promise<Record<string, string>> {
  const answer = await sendRaw(
    runtime.url,
    `OPTIONS ${path} HTTP/1.1\r\nhost: ${host}\r\norigin: ${origin}\r\naccess-control-request-method: POST\r\naccess-control-request-headers: x-api-key\r\nconnection: close\r\n\r\n`,
  )
  const [head = ''] = answer.split('\r\n\r\n')
  return Object.fromEntries(
    head
      .split('\r\n')
      .slice(1)
      .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
}

test.each([
  ['its own tenant', APP, 'acme.tenantry.test', true],
  ['another origin of it', 'http://localhost:5173', 'acme.tenantry.test', true],
  ['a host that the tenant lists', SHOP, 'tasks.globex.example', true],
  ["another tenant's host", APP, 'globex.tenantry.test', false],
  ['a tenant that lists none', APP, 'closed.tenantry.test', false],
  ['a tenant that nobody knows', APP, 'nobody.tenantry.test', false],
  ['a host that names nobody', APP, 'lb.internal', true],
  ['the base domain itself', SHOP, 'tenantry.test', true],
  ['an origin that nobody lists', EVIL, 'lb.internal', false],
  ['an origin that begins like one', `${APP}.evil.example`, 'acme.tenantry.test', false],
  ['an origin in another case', 'https://APP.acme.example', 'acme.tenantry.test', false],
  ['another scheme', 'http://app.acme.example', 'acme.tenantry.test', false],
  ['a page without an origin', 'null', 'acme.tenantry.test', false],
])('HT-09: a browser that asks first: %s', async (_, origin, host, isAllowed) => {
  const headers = await preflight(origin, host)
  expect(headers.vary).toBe('Origin, Access-Control-Request-Method, Access-Control-Request-Headers')
  expect(headers['access-control-allow-credentials']).toBeUndefined()
  expect(headers['access-control-allow-origin']).toBe(isAllowed ? origin : undefined)
  if (!isAllowed) return
  expect(headers['access-control-allow-methods']).toBe('GET, HEAD, OPTIONS, POST')
  expect(headers['access-control-allow-headers']).toMatch(/X-API-Key.*X-Tenant-ID/)
})

const exposed = ({ headers }: Response) => [headers.get('access-control-allow-origin'), headers.get('access-control-expose-headers')]

test.each([
  ['the tenant that lists it', () => acme, APP, true],
  ['a tenant that lists another', () => globex, APP, false],
  ['a tenant that lists none', () => closed, APP, false],
  ['an origin that nobody lists', () => acme, EVIL, false],
])('HT-09: an answer to a page: %s', async (_, as, origin, isAllowed) => {
  for (const path of ['/v1/tasks', MISSING, '/v1/tasks?limit=0']) {
    const answer = await sendTo(runtime.url, path, { as: as(), headers: { origin } })
    expect(answer.headers.get('vary')).toMatch(/\bOrigin\b/)
    expect(exposed(answer)).toEqual(
      isAllowed ? [origin, 'ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID'] : [null, null],
    )
  }
})

test('HT-09: without an origin, or without a tenant, nothing is said of pages', async () => {
  expect(exposed(await sendTo(runtime.url, '/v1/tasks', { as: acme }))).toEqual([null, null])
  const refused = await sendTo(runtime.url, '/v1/tasks', { as: null, headers: { origin: APP } })
  expect([refused.status, ...exposed(refused)]).toEqual([401, null, null])
})

test.each(['*', 7, [APP, 'https://*'], null])(
  'a setting that is not what it should be (%j) is left out, and the tenant served on',
  (wrong) => {
    const text = formatRouting(buildDocument([buildRoute({ settings: { allowedOrigins: ['wrong'], other: 1 } })]))
    const parsed = parseRouting(text.replace('["wrong"]', JSON.stringify(wrong)))
    expect(parsed.ok && parsed.value.tenants.map(({ settings }) => [settings?.allowedOrigins, settings?.other])).toEqual([[undefined, 1]])
  },
)
