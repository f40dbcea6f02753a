import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, customFetch } from 'jose'
import { afterEach, expect, test } from 'vitest'
import { createFetchKeys } from './fetch-keys.ts'

const SET = '{"keys":[{"kty":"EC","crv":"P-256","kid":"1","x":"x","y":"y"}]}'
const opened: { close: () => void }[] = []

afterEach(() => {
  for (const server of opened.splice(0)) server.close()
})

/** A provider that answers as told, and a reader of its keys with a clock of its own. */
async function provide(answer: RequestListener) {
  const state = { answer, requests: 0, now: 0 }
  const server = createServer((request, response) => {
    state.requests += 1
    state.answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  opened.push({ close: () => server.closeAllConnections() }, server)
  const read = createFetchKeys(fetch, () => state.now)
  const url = `http://127.0.0.1:${port}/jwks`
  const text = async () => {
    const response = await read(url, { headers: new Headers(), method: 'GET', redirect: 'manual', signal: AbortSignal.timeout(500) })
    return response.text()
  }
  return { state, text, url }
}

const good: RequestListener = (_, response) => response.end(SET)

test.each<[string, RequestListener]>([
  ['redirects', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()],
  [
    'redirects to keys',
    (request, response) => (request.url === '/k' ? response.end(SET) : response.writeHead(307, { location: '/k' }).end()),
  ],
  ['says 404', (_, response) => response.writeHead(404).end(SET)],
  ['sends too much', (_, response) => response.end(SET.padEnd(70_000))],
  ['never stops sending', (_, response) => void setInterval(() => response.write(' '.repeat(4_096)), 1).unref()],
  ['sends no JSON', (_, response) => response.end('<html>')],
  ['sends no key set', (_, response) => response.end('{"keys":"none"}')],
  ['hangs', () => undefined],
  ['hangs half way', (_, response) => void response.writeHead(200).write('{"keys":')],
  ['hangs up', (request) => request.socket.destroy()],
])('SSRF: an address that %s gives no keys', async (_, answer) => {
  const { text } = await provide(answer)
  await expect(text()).rejects.toThrow('cannot be read')
})

test('a provider that fails is left alone for five seconds, and its last keys hold for an hour', async () => {
  const { state, text } = await provide(good)
  expect(await text()).toBe(SET)
  state.answer = (_, response) => response.writeHead(500).end()
  for (const [now, requests] of [
    [0, 2],
    [4_999, 2],
    [5_000, 3],
    [9_999, 3],
    [3_600_000, 4],
  ] as const) {
    state.now = now
    expect([await text(), state.requests]).toEqual([SET, requests])
  }
  state.now = 3_600_001
  await expect(text()).rejects.toThrow('cannot be read')
  state.now = 3_605_000
  state.answer = good
  expect(await text()).toBe(SET)
})

test('tokens that name keys nobody knows have the set read no more than twice a minute', async () => {
  const { state, url } = await provide(good)
  const keys = createRemoteJWKSet(new URL(url), { cooldownDuration: 30_000, [customFetch]: createFetchKeys() })
  const ask = () => expect(keys({ alg: 'ES256', kid: 'unknown' }, { payload: '', signature: '' })).rejects.toThrow('no applicable key')
  await Promise.all(Array.from({ length: 100 }, ask))
  expect(state.requests).toBe(1)
})
