import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { createProvider, type Provider } from '../builders/provider.ts'
import { getRaw, type RawReply, sendBytes } from '../builders/raw-http.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

type Name = 'acme' | 'globex'
type Headers = [name: string, value: string][]

let world: World
let runtime: RunningRuntime
let behindGateway: RunningRuntime
let tenants: Record<Name, RoutedTenant>
let providers: Record<Name, Provider>

beforeAll(async () => {
  world = await createWorld()
  const [acme, globex] = await Promise.all([createProvider('acme'), createProvider('globex', 'EdDSA')])
  providers = { acme, globex }
  tenants = {
    acme: await world.addTenant('acme', { jwt: acme.issuer, hosts: ['tasks.acme.example'] }),
    globex: await world.addTenant('globex', { jwt: globex.issuer }),
  }
  runtime = await startRuntime(world)
  behindGateway = await startRuntime(world, { TENANTRY_GATEWAY_ADDRESSES: '192.0.2.1, 127.0.0.0/8' })
})

afterAll(async () => {
  await Promise.all([runtime?.stop(), behindGateway?.stop()])
  await world?.remove()
})

const get = (headers: Headers, url = runtime.url): Promise<RawReply> => getRaw(url, '/v1/tasks/statistics', headers)
const keyOf = (name: Name): Headers[number] => ['X-API-Key', tenants[name].token]
const said = ({ status, type }: RawReply) => (status === 200 ? '200' : `${status} ${type}`)

/** Every way to name a tenant. */
const SOURCES: Record<string, (name: Name) => Headers[number] | Promise<Headers[number]>> = {
  key: keyOf,
  token: async (name) => ['Authorization', `Bearer ${await providers[name].sign(providers[name].claims(name))}`],
  host: (name) => ['Host', `${name}.localhost`],
  header: (name) => ['X-Tenant-ID', name],
}

/** What is to be said to two sources, `proven` when one of them is a credential. */
function verdict(left: Name, right: Name, proven: boolean): string {
  if (left !== right) return '400 tenant-conflict'
  return proven ? '200' : '401 unauthenticated'
}

test('TI-02: two sources that disagree are refused, in whatever order they come; two that agree are served where one is a credential', async () => {
  const names = Object.keys(SOURCES)
  const pairs = names.flatMap((one) => names.filter((other) => other !== one).map((other) => [one, other] as const))
  const cases = pairs.flatMap(([one, other]) =>
    (['acme', 'globex'] as const).flatMap((left) => (['acme', 'globex'] as const).map((right) => ({ one, other, left, right }))),
  )
  for (const { one, other, left, right } of cases) {
    const headers = [await SOURCES[one]?.(left), await SOURCES[other]?.(right)].filter((header) => header !== undefined)
    const proven = [one, other].some((name) => name === 'key' || name === 'token')
    expect(said(await get(headers)), `${one} of ${left}, then ${other} of ${right}`).toBe(verdict(left, right, proven))
  }
  printFigure(`TI-02: ${cases.length} ordered pairs of sources, over HTTP`)
})

test('TI-01: no header that a client can send opens anything without a credential', async () => {
  const own: Headers = [
    ['X-Tenant-ID', 'acme'],
    ['X-Tenant-Scopes', 'tenant:admin tasks:read'],
    ['X-Forwarded-Host', 'acme.localhost'],
  ]
  const claims: Headers[] = [
    ...own.map((header): Headers => [header]),
    own,
    [...own, ['Host', 'acme.localhost']],
    [...own, ['X-Forwarded-For', '127.0.0.1'], ['X-Real-IP', '127.0.0.1'], ['Forwarded', 'for=127.0.0.1;host=acme.localhost']],
    [
      ['X-Tenant-ID', 'acme'],
      ['X-API-Key', ''],
    ],
    [
      ['X-Tenant-ID', 'acme'],
      ['X-API-Key', 'acme'],
    ],
    [
      ['X-Tenant-ID', 'acme'],
      ['Authorization', 'Bearer acme'],
    ],
    [
      ['X-Tenant-ID', 'acme'],
      ['Authorization', 'Basic YWNtZTphY21l'],
    ],
    [['Cookie', 'tenant=acme']],
  ]
  const answers = await Promise.all(claims.map((headers) => get(headers)))
  expect(answers.map(said)).toEqual(claims.map(() => '401 unauthenticated'))
  // Only a bearer token that was sent is told that it is none (RFC 6750, 3.1).
  expect(answers.map(({ headers }) => headers['www-authenticate'])).toEqual(
    claims.map((headers) => {
      const isBearer = headers.some(([name, value]) => name === 'Authorization' && value.startsWith('Bearer'))
      return `ApiKey header="X-API-Key", Bearer${isBearer ? ' error="invalid_token"' : ''}`
    }),
  )
  printFigure(`TI-01: ${claims.length} requests without a credential, 0 opened anything`)
})

test('a credential that is not valid is not made good by one that is', async () => {
  const valid = keyOf('acme')
  const token = await SOURCES.token?.('acme')
  if (token === undefined) throw new Error('no token')
  expect(said(await get([valid, ['Authorization', 'Bearer x.y.z']]))).toBe('401 unauthenticated')
  expect(said(await get([valid, ['Authorization', 'Basic YWNtZTphY21l']]))).toBe('401 unauthenticated')
  expect(said(await get([token, ['X-API-Key', 'wrong']]))).toBe('401 unauthenticated')
})

describe('TI-03: spoofed hosts', () => {
  test.each<[string, string, string]>([
    ['its own', 'acme.localhost', '200'],
    ['its own in upper case, with dot and port', 'ACME.LOCALHOST.:8080', '200'],
    ['one that it lists', 'tasks.acme.example', '200'],
    ['an address', '127.0.0.1:1', '200'],
    ["another tenant's", 'globex.localhost', '400 tenant-conflict'],
    ["another tenant's in upper case", 'GLOBEX.localhost', '400 tenant-conflict'],
    ["another tenant's with a dot", 'globex.localhost.', '400 tenant-conflict'],
    ["another tenant's with a port", 'globex.localhost:443', '400 tenant-conflict'],
    ['nested', 'a.acme.localhost', '400 tenant-conflict'],
    ["nested in another tenant's", 'acme.globex.localhost', '400 tenant-conflict'],
    ['punycode', 'xn--acme-0ra.localhost', '400 tenant-conflict'],
    ['with a user', 'acme@globex.localhost', '400 tenant-conflict'],
    ['two in one', 'acme.localhost,globex.localhost', '400 tenant-conflict'],
  ])('%s beside a key', async (_, host, expected) => {
    expect(said(await get([keyOf('acme'), ['Host', host]]))).toBe(expected)
  })

  test('what proxies say is not believed of anybody else', async () => {
    const forwarded: Headers = [
      ['X-Forwarded-Host', 'globex.localhost'],
      ['Forwarded', 'host=globex.localhost'],
      ['X-Tenant-Scopes', 'tenant:admin'],
    ]
    expect(said(await get([keyOf('acme'), ...forwarded]))).toBe('200')
  })

  test.each([
    ['the absolute form', 'GET http://globex.localhost/v1/tasks HTTP/1.1\r\nHost: acme.localhost\r\n'],
    ['two hosts', 'GET /v1/tasks HTTP/1.1\r\nHost: acme.localhost\r\nHost: globex.localhost\r\n'],
    ['two hosts that agree', 'GET /v1/tasks HTTP/1.1\r\nHost: acme.localhost\r\nhOST: acme.localhost\r\n'],
    ['two credentials', 'GET /v1/tasks HTTP/1.1\r\nHost: acme.localhost\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n'],
    ['no host', 'GET /v1/tasks HTTP/1.1\r\n'],
  ])('%s', async (_, head) => {
    const answer = await sendBytes(runtime.url, `${head}X-API-Key: ${tenants.acme.token}\r\nConnection: close\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1.1 400 [\s\S]*invalid-request/)
  })
})

describe('TI-01: behind a gateway that the settings list', () => {
  const ask = async (...headers: Headers) => said(await get(headers, behindGateway.url))

  test('a tenant is named by X-Tenant-ID, by host or by the host that the gateway was asked for', async () => {
    expect(await ask(['X-Tenant-ID', 'acme'])).toBe('200')
    expect(await ask(['Host', 'acme.localhost'])).toBe('200')
    expect(await ask(['Host', 'tasks.acme.example'], ['X-Tenant-ID', 'acme'])).toBe('200')
    expect(await ask(['Host', 'gateway.internal'], ['X-Forwarded-Host', 'Acme.localhost:443'])).toBe('200')
    expect(await ask(['Host', 'globex.localhost'], ['X-Forwarded-Host', 'acme.localhost'], ['X-Tenant-ID', 'acme'])).toBe('200')
  })

  test('what disagrees, is not known or is missing opens nothing', async () => {
    expect(await ask(['X-Forwarded-Host', 'acme.localhost'], ['X-Tenant-ID', 'globex'])).toBe('400 tenant-conflict')
    expect(await ask(keyOf('acme'), ['X-Tenant-ID', 'globex'])).toBe('400 tenant-conflict')
    expect(await ask(keyOf('acme'), ['X-Forwarded-Host', 'globex.localhost'])).toBe('400 tenant-conflict')
    expect(await ask(['X-Forwarded-Host', 'acme.localhost, globex.localhost'])).toBe('404 not-found')
    expect(await ask(['X-Tenant-ID', 'initech'])).toBe('404 not-found')
    expect(await ask(['Host', 'initech.localhost'])).toBe('404 not-found')
    expect(await ask()).toBe('401 unauthenticated')
    expect(await ask(['X-Tenant-ID', 'acme'], ['X-API-Key', 'wrong'])).toBe('401 unauthenticated')
  })

  test('the gateway says what its caller may do, in words of ours, and without a word it is all but to administer', async () => {
    const scoped = (scopes: string) => ask(['X-Tenant-ID', 'acme'], ['X-Tenant-Scopes', scopes])
    expect(await scoped('tasks:read')).toBe('200')
    expect(await scoped('users:read, tasks:read')).toBe('200')
    expect(await scoped('tasks:write')).toBe('403 forbidden')
    expect(await scoped('tasks:* admin')).toBe('403 forbidden')
  })
})

describe('TI-05: an API key', () => {
  test('counts in its header only, and stands in no log line', async () => {
    const { token } = tenants.acme
    for (const path of [`/v1/tasks?x-api-key=${token}`, `/v1/tasks?api_key=${token}`, `/v1/tasks/${token}`])
      expect(said(await getRaw(runtime.url, path, []))).toBe('401 unauthenticated')
    expect(said(await get([['X-API-Key', token.slice(0, 12)]]))).toBe('401 unauthenticated')
    expect(
      said(
        await get([
          ['X-API-Key', token],
          ['X-API-Key', token],
        ]),
      ),
    ).toBe('401 unauthenticated')
    expect(JSON.stringify(runtime.lines)).not.toContain(token.slice(12))
  })

  test('may do what its scopes say, on commands and queries alike', async () => {
    const reader = await world.addTenant('reader', {}, ['tasks:read'])
    const send = (method: string) =>
      fetch(`${runtime.url}/v1/tasks`, {
        method,
        headers: { 'x-api-key': reader.token, 'content-type': 'application/json' },
        ...(method === 'POST' ? { body: '{"title":"x"}' } : {}),
      })
    expect((await send('GET')).status).toBe(200)
    const refused = await send('POST')
    expect([refused.status, await refused.json()]).toMatchObject([
      403,
      { detail: expect.stringContaining('tasks:write'), errors: [{ field: 'scope' }] },
    ])
  })
})
