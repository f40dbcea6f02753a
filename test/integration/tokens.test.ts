import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { printFigure } from '../builders/figure.ts'
import { type KeyServer, startKeyServer } from '../builders/key-server.ts'
import { createProvider, type Provider } from '../builders/provider.ts'
import { tokenAttacks } from '../builders/token-attacks.ts'
import { createWorld, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime
let folder: string
let server: KeyServer
let acme: Provider
let globex: Provider

beforeAll(async () => {
  world = await createWorld()
  folder = await mkdtemp(join(tmpdir(), 'tenantry-jwks-'))
  acme = await createProvider('acme')
  globex = await createProvider('globex', 'RS256')
  server = await startKeyServer(folder, globex.jwks)
  const { jwks: _, ...pinned } = globex.issuer
  await world.addTenant('acme', { jwt: acme.issuer })
  await world.addTenant('globex', { jwt: { ...pinned, jwksUri: server.address } })
  runtime = await startRuntime(world, { NODE_EXTRA_CA_CERTS: server.authorityFile })
})

afterAll(async () => {
  await runtime?.stop()
  server?.close()
  await world?.remove()
  await rm(folder, { recursive: true, force: true })
})

async function ask(token: string, method: 'GET' | 'POST' = 'GET'): Promise<{ status: number; text: string; challenge: string | null }> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const answer = await fetch(`${runtime.url}/v1/tasks`, { method, headers, ...(method === 'POST' ? { body: '{"title":"x"}' } : {}) })
  return { status: answer.status, text: await answer.text(), challenge: answer.headers.get('www-authenticate') }
}

const status = async (token: string) => (await ask(token)).status

test('TI-04: a token opens its own tenant, with keys inline and with keys by https, and what its scopes say', async () => {
  const reading = await acme.sign(acme.claims('acme', { scope: 'openid tasks:read' }))
  expect([await status(reading), (await ask(reading, 'POST')).status]).toEqual([200, 403])
  const { scope: _, ...others } = globex.claims('globex') as Record<string, unknown>
  const writing = await globex.sign({ ...others, scp: ['tasks:write'] })
  expect([await status(writing), (await ask(writing, 'POST')).status]).toEqual([403, 201])
  expect(await status(await globex.sign(others))).toBe(403)
  expect(server.requests).toBe(1)
})

test('TI-04: every attack is answered 401, and none of its words is in the answer or in the log', async () => {
  // Sent together: each waits for a look at the routing config, and those looks are shared.
  const attacks = await tokenAttacks(acme, globex)
  const answers = await Promise.all(attacks.map(async ([what, token]) => ({ what, ...(await ask(token)) })))
  expect(answers.filter((answer) => answer.status !== 401).map(({ what, status }) => `${what}: ${status}`)).toEqual([])
  const challenges = new Set(answers.map(({ challenge }) => challenge))
  expect([...challenges]).toEqual(['ApiKey header="X-API-Key", Bearer error="invalid_token"'])
  const told = answers.map(({ text }) => text).join() + JSON.stringify(runtime.lines)
  for (const word of ['mallory', 'evil.example', 'dev/null', 'UNION']) expect(told).not.toContain(word)
  printFigure(`TI-04: ${answers.length} of ${attacks.length} attacks refused with 401, over HTTP`)
})

test('tokens with keys that nobody knows make the provider no work', async () => {
  const before = server.requests
  const tokens = await Promise.all(
    Array.from({ length: 50 }, (_, index) => globex.sign(globex.claims('globex'), { kid: `unknown-${index}` })),
  )
  expect(new Set(await Promise.all(tokens.map(status)))).toEqual(new Set([401]))
  expect(server.requests - before).toBeLessThanOrEqual(1)
  printFigure(`TI-04: ${tokens.length} unknown key names cost ${server.requests - before} requests to the provider`)
})

test('a provider that is away is not noticed where its keys are known; where they are not, its tokens are 503', async () => {
  server.down = true
  expect(await status(await globex.sign(globex.claims('globex', { sub: 'bob' })))).toBe(200)
  const { jwks: _, ...pinned } = globex.issuer
  await world.addTenant('umbrella', { jwt: { ...pinned, jwksUri: `${server.address}?umbrella` } })
  const token = await globex.sign(globex.claims('umbrella'))
  const refused = await ask(token)
  expect([refused.status, refused.text]).toEqual([503, expect.stringContaining('overloaded')])
  expect(await status(await acme.sign(acme.claims('acme')))).toBe(200)
  server.down = false
  await vi.waitFor(async () => expect(await status(token)).toBe(200), { timeout: 15_000, interval: 200 })
})

test('TI-04: a provider that replaces its keys goes on; one that is taken out of the route is refused at once, tokens that are known too', async () => {
  const before = await acme.sign(acme.claims('acme'))
  expect(await status(before)).toBe(200)
  const successor = await createProvider('acme')
  await world.change('acme', { jwt: successor.issuer })
  expect(await status(await successor.sign(successor.claims('acme')))).toBe(200)
  expect(await status(before)).toBe(401)

  const token = await successor.sign(successor.claims('acme'))
  await world.change('acme', { jwt: undefined })
  const changed = performance.now()
  await vi.waitFor(async () => expect(await status(token)).toBe(401), { timeout: 5_000, interval: 5 })
  const late = performance.now() - changed
  printFigure(`TI-04: a known token was refused ${Math.round(late)} ms after its provider was taken out of the route`)
  // The folder is read once a second.
  expect(late).toBeLessThan(2_000)
})

test('TI-08: a suspended tenant is refused to its tokens too', async () => {
  const token = await globex.sign(globex.claims('globex'))
  expect(await status(token)).toBe(200)
  await world.change('globex', { state: 'suspended' })
  await vi.waitFor(async () => expect(await status(token)).toBe(403), { timeout: 5_000, interval: 20 })
  await world.change('globex', { state: 'active' })
  await vi.waitFor(async () => expect(await status(token)).toBe(200), { timeout: 5_000, interval: 20 })
})
