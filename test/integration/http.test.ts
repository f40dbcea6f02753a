import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { MISSING, read, type Sent, sendRaw, sendTo } from '../builders/http.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startReadyRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let globex: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme')
  globex = await world.addTenant('globex')
  runtime = await startReadyRuntime(world, { TENANTRY_BODY_LIMIT_BYTES: '20000' })
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

/** Sends as acme unless told otherwise. */
function send(path: string, sent: Partial<Sent> = {}): Promise<Response> {
  return sendTo(runtime.url, path, { as: acme, ...sent })
}

type Task = { id: string; title: string; version: number; status: string }

async function createTask(title = 'a task', as = acme): Promise<Task> {
  const answer = await send('/v1/tasks', { method: 'POST', json: { title }, as })
  expect(answer.status).toBe(201)
  return read(answer)
}

describe('a task over HTTP', () => {
  test('lives from POST to DELETE', async () => {
    const created = await send('/v1/tasks', { method: 'POST', json: { title: 'write', tags: ['a'], priority: 'high' } })
    const task: Task = await read(created)
    expect(created.status).toBe(201)
    expect(created.headers.get('location')).toBe(`/v1/tasks/${task.id}`)
    expect(created.headers.get('etag')).toBe('"1"')
    const path = `/v1/tasks/${task.id}`
    expect(await read(await send(path))).toEqual(task)

    const changed = await send(path, { method: 'PATCH', json: { title: 'rewrite' }, headers: { 'if-match': '"1"' } })
    expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"'])
    expect(await read(changed)).toMatchObject({ title: 'rewrite', version: 2 })
    const completed = await send(`${path}/complete`, { method: 'POST' })
    expect(await read(completed)).toMatchObject({ status: 'completed', version: 3 })
    const list = await read(await send('/v1/tasks?status=completed&limit=100'))
    expect(list.items.map((item: Task) => item.id)).toContain(task.id)

    const removed = await send(path, { method: 'DELETE' })
    expect([removed.status, await removed.text()]).toEqual([204, ''])
    expect((await send(path)).status).toBe(404)
  })
})

describe('a request that is refused', () => {
  const deep = '['.repeat(5_000) + ']'.repeat(5_000)
  const post = (json: unknown): Partial<Sent> => ({ method: 'POST', json })
  const raw = (body: string, headers = {}): Partial<Sent> => ({ method: 'POST', body, headers })

  test.each<[string, string, Partial<Sent>, number, string, string | undefined]>([
    ['no key', '/v1/tasks', { as: null }, 401, 'unauthenticated', undefined],
    ['a wrong key', '/v1/tasks', { as: null, headers: { 'x-api-key': 'wrong' } }, 401, 'unauthenticated', undefined],
    ['a bearer token', '/v1/tasks', { as: null, headers: { authorization: 'Bearer x' } }, 401, 'unauthenticated', undefined],
    ['another X-Tenant-ID', '/v1/tasks', { headers: { 'x-tenant-id': 'globex' } }, 400, 'tenant-conflict', undefined],
    ['an unknown path', '/v1/nothing', {}, 404, 'not-found', undefined],
    ['a trailing slash', '/v1/tasks/', {}, 404, 'not-found', undefined],
    ['upper case', '/V1/tasks', {}, 404, 'not-found', undefined],
    ['a missing task', MISSING, {}, 404, 'not-found', undefined],
    ['a missing task to change', MISSING, { method: 'PATCH', json: { title: 'x' } }, 404, 'not-found', undefined],
    ['an id that is none', '/v1/tasks/1', {}, 404, 'not-found', undefined],
    ['bad percent-encoding', '/v1/tasks/%zz', {}, 400, 'invalid-request', undefined],
    ['bad percent-encoding in the query', '/v1/tasks?status=%zz', {}, 400, 'invalid-request', 'query'],
    ['an unknown parameter', '/v1/tasks?colour=red', {}, 400, 'invalid-request', 'colour'],
    ['a repeated parameter', '/v1/tasks?limit=1&limit=2', {}, 400, 'invalid-request', 'limit'],
    ['a parameter of the path in the query', `${MISSING}?id=1`, {}, 400, 'invalid-request', 'id'],
    ['a page too large', '/v1/tasks?limit=1000000000', {}, 400, 'invalid-request', 'limit'],
    ['a foreign cursor', '/v1/tasks?cursor=abc', {}, 400, 'invalid-request', 'cursor'],
    ['a null byte in the query', '/v1/tasks?assignee=%00', {}, 400, 'invalid-request', 'assignee'],
    ['no body', '/v1/tasks', { method: 'POST' }, 400, 'invalid-request', 'title'],
    ['an unknown field', '/v1/tasks', post({ title: 'x', colour: 'red' }), 400, 'invalid-request', 'colour'],
    ['a read-only field', '/v1/tasks', post({ title: 'x', version: 7 }), 400, 'invalid-request', 'version'],
    ['__proto__', '/v1/tasks', raw('{"title":"x","__proto__":{"a":1}}'), 400, 'invalid-request', '__proto__'],
    ['constructor', '/v1/tasks', raw('{"title":"x","constructor":{"prototype":{}}}'), 400, 'invalid-request', 'constructor'],
    ['a wrong type', '/v1/tasks', post({ title: 7 }), 400, 'invalid-request', 'title'],
    ['a list for a string', '/v1/tasks', post({ title: ['x'] }), 400, 'invalid-request', 'title'],
    ['a title too long', '/v1/tasks', post({ title: 'x'.repeat(201) }), 400, 'invalid-request', 'title'],
    ['too many tags', '/v1/tasks', post({ title: 'x', tags: Array(21).fill('t') }), 400, 'invalid-request', 'tags'],
    ['a null byte', '/v1/tasks', post({ title: 'a\u0000b' }), 400, 'invalid-request', 'title'],
    ['a null byte in a tag', '/v1/tasks', post({ title: 'x', tags: ['\u0000'] }), 400, 'invalid-request', 'tags.0'],
    ['an id in the body', MISSING, { method: 'PATCH', json: { id: MISSING, title: 'x' } }, 400, 'invalid-request', 'id'],
    ['bad JSON', '/v1/tasks', raw('{"title":'), 400, 'invalid-request', 'body'],
    ['a list', '/v1/tasks', raw('[]'), 400, 'invalid-request', 'body'],
    ['a bare string', '/v1/tasks', raw('"x"'), 400, 'invalid-request', 'body'],
    ['deep JSON', '/v1/tasks', raw(`{"title":${deep}}`), 400, 'invalid-request', 'body'],
    ['a query string on a command', '/v1/tasks?x=1', post({ title: 'x' }), 400, 'invalid-request', 'query'],
    ['a body too large', '/v1/tasks', post({ title: 'x', description: 'y'.repeat(20_001) }), 413, 'payload-too-large', undefined],
    ['text', '/v1/tasks', raw('{"title":"x"}', { 'content-type': 'text/plain' }), 415, 'unsupported-media-type', undefined],
    [
      'a form',
      '/v1/tasks',
      raw('title=x', { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'unsupported-media-type',
      undefined,
    ],
    [
      'another charset',
      '/v1/tasks',
      raw('{"title":"x"}', { 'content-type': 'application/json; charset=latin1' }),
      415,
      'unsupported-media-type',
      undefined,
    ],
    [
      'UTF-16',
      '/v1/tasks',
      raw('{"title":"x"}', { 'content-type': 'application/json; charset=utf-16' }),
      415,
      'unsupported-media-type',
      undefined,
    ],
    ['an unknown compression', '/v1/tasks', raw('x', { 'content-encoding': 'zstd2' }), 415, 'unsupported-media-type', undefined],
    ['a broken compression', '/v1/tasks', raw('x', { 'content-encoding': 'gzip' }), 400, 'invalid-request', undefined],
    ['PUT', '/v1/tasks', { method: 'PUT', json: {} }, 405, 'method-not-allowed', undefined],
    ['DELETE of the list', '/v1/tasks', { method: 'DELETE' }, 405, 'method-not-allowed', undefined],
  ])('HT-02: %s', async (_, path, sent, status, code, field) => {
    const answer = await send(path, sent)
    const problem = await read(answer)
    expect({ status: answer.status, problem }).toMatchObject({
      status,
      problem: { type: `/docs/problems/${code}`, status, requestId: answer.headers.get('x-request-id') },
    })
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    if (field !== undefined) expect(problem.errors.map((fault: { field: string }) => fault.field)).toContain(field)
    expect(JSON.stringify(problem)).not.toMatch(/select|schema|t_[0-9a-f]{8}|\.ts|node_modules/i)
  })

  test('HT-02: 405 tells what is allowed, OPTIONS too', async () => {
    expect((await send('/v1/tasks', { method: 'PUT' })).headers.get('allow')).toBe('GET, HEAD, OPTIONS, POST')
    const options = await send('/v1/tasks/x/complete', { method: 'OPTIONS', as: null })
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'OPTIONS, POST'])
  })
})

describe('two tenants', () => {
  test('TI-07: a cursor is good for its tenant and filter, and for pages of any size', async () => {
    for (const title of ['first', 'second']) await createTask(title, globex)
    const page = await read(await send('/v1/tasks?limit=1', { as: globex }))
    const stolen = await send(`/v1/tasks?cursor=${page.nextCursor}`)
    expect([stolen.status, (await read(stolen)).errors[0].field]).toEqual([400, 'cursor'])
    expect((await send(`/v1/tasks?cursor=${page.nextCursor}&status=pending`, { as: globex })).status).toBe(400)
    expect((await send(`/v1/tasks?cursor=${page.nextCursor}&limit=7`, { as: globex })).status).toBe(200)
  })

  test('a tenant that was added after the start is served at once', async () => {
    const initech = await world.addTenant('initech')
    expect((await send('/v1/tasks', { as: initech })).status).toBe(200)
  })
})

describe('the edges of HTTP', () => {
  test('HT-09: headers are the safe ones, and a request id is kept or made', async () => {
    const answer = await send('/v1/tasks', { headers: { 'x-request-id': 'abc-1' } })
    expect(answer.headers.get('x-request-id')).toBe('abc-1')
    expect(answer.headers.get('cache-control')).toBe('private, no-store')
    const task = await send((await send('/v1/tasks', { method: 'POST', json: { title: 'x' } })).headers.get('location') ?? '')
    expect(task.headers.get('cache-control')).toBe('private, no-cache')
    expect(task.headers.get('vary')).toBe('Authorization, Origin, X-API-Key, X-Tenant-ID')
    const made = await send('/v1/tasks', { headers: { 'x-request-id': 'no spaces allowed' } })
    expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })

  test('health needs no tenant; metrics have a port of their own and no tenant in them', async () => {
    expect((await send('/health', { as: null })).status).toBe(200)
    expect((await send('/health/ready', { as: null })).status).toBe(200)
    expect((await send('/metrics')).status).toBe(404)
    const names = [
      'http_request_duration_seconds_count{',
      'http_in_flight',
      'routing_age_seconds',
      'pool_connections{',
      'cache_requests_total{',
    ]
    const scrape = async () => (await fetch(runtime.metricsUrl)).text()
    await vi.waitFor(async () => {
      const metrics = await scrape()
      for (const name of [...names, 'breaker_state{']) expect(metrics.includes(`tenantry_${name}`), name).toBe(true)
    }, 5_000)
    expect((await scrape()).includes(acme.tenant.uid)).toBe(false)
    expect(await scrape()).not.toContain('acme')
  })

  test('the busiest tenants are named in the metrics, as many as was asked for', async () => {
    const curious = await startReadyRuntime(world, { TENANTRY_METRICS_TENANTS: '1' })
    const request = (as: RoutedTenant) => sendTo(curious.url, '/v1/tasks', { as })
    await Promise.all([request(globex), request(acme), request(acme)])
    await vi.waitFor(async () => {
      const text = await (await fetch(curious.metricsUrl)).text()
      expect(text).toContain('tenantry_tenant_requests_total{tenant="acme",status="200"} 2')
      expect(text).toMatch(/tenantry_tenant_request_seconds_total\{tenant="acme"\} \d/)
      expect(text).not.toContain('globex')
    })
    await curious.stop()
  })

  test('the log tells request id and tenant, and never a key', async () => {
    await send('/v1/tasks', { headers: { 'x-request-id': 'find-me' } })
    await vi.waitFor(() =>
      expect(runtime.lines.find((line) => line.requestId === 'find-me')).toMatchObject({ tenantId: 'acme', status: 200 }),
    )
    expect(JSON.stringify(runtime.lines)).not.toContain(acme.token)
  })
})

describe('what is no request at all', () => {
  test.each([
    ['no HTTP', 'HELLO\r\n\r\n', 400],
    ['headers too large', `GET / HTTP/1.1\r\nhost: x\r\nx-large: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    ['two lengths', 'POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 400],
    ['no host', 'GET /v1/tasks HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['an absolute target', 'GET http://globex.localhost/v1/tasks HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 400],
  ])('HT-02: %s is answered with a problem document', async (_, text, status) => {
    const answer = await sendRaw(runtime.url, text)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer).toContain('application/problem+json')
    expect(answer).toContain('/docs/problems/invalid-request')
  })

  test('TI-02: a host of another tenant beside a valid key is a conflict', async () => {
    const ask = (host: string) =>
      sendRaw(runtime.url, `GET /v1/tasks HTTP/1.1\r\nhost: ${host}\r\nx-api-key: ${acme.token}\r\nconnection: close\r\n\r\n`)
    expect(await ask('globex.localhost')).toMatch(/^HTTP\/1.1 400 [\s\S]*tenant-conflict/)
    expect(await ask('nobody.localhost')).toMatch(/^HTTP\/1.1 400 [\s\S]*tenant-conflict/)
    expect(await ask('ACME.localhost.:8080')).toMatch(/^HTTP\/1.1 200 /)
  })
})
