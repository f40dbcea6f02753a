import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SCOPES } from '../../config/routing.ts'
import { printFigure } from '../builders/figure.ts'
import { MISSING, read, type Sent, sendTo } from '../builders/http.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startReadyRuntime, type World } from '../builders/world.ts'

let world: World
let runtime: RunningRuntime
let other: RunningRuntime
let acme: RoutedTenant
let globex: RoutedTenant
let reader: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme', {}, [...SCOPES])
  globex = await world.addTenant('globex', {}, [...SCOPES])
  reader = await world.addTenant('reader', {}, ['tasks:read'])
  ;[runtime, other] = await Promise.all([startReadyRuntime(world), startReadyRuntime(world)])
})

afterAll(async () => {
  await Promise.all([runtime?.stop(), other?.stop()])
  await world?.remove()
})

/** Sends as acme unless told otherwise. */
function send(path: string, sent: Partial<Sent> = {}, url = runtime.url): Promise<Response> {
  return sendTo(url, path, { as: acme, ...sent })
}

const create = (title: string, key: string, url = runtime.url) =>
  send('/v1/tasks', { method: 'POST', json: { title }, headers: { 'idempotency-key': key } }, url)

describe('HT-04: Idempotency-Key over HTTP', () => {
  test('the answer is replayed with status, ETag and Location, by either replica; the key may be quoted', async () => {
    const [made, again] = [await create('once', 'k-1'), await create('once', '"k-1"', other.url)]
    expect([made.status, made.headers.get('idempotency-replayed')]).toEqual([201, null])
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true'])
    for (const header of ['etag', 'location', 'content-type']) expect(again.headers.get(header)).toBe(made.headers.get(header))
    expect(await again.text()).toBe(await made.text())
    const path = made.headers.get('location') ?? ''
    const remove = () => send(path, { method: 'DELETE', headers: { 'idempotency-key': 'k-2' } })
    expect([(await remove()).status, (await remove()).status]).toEqual([204, 204])
  })

  test.each(['', '""', 'a'.repeat(256), '"a"b"', 'a b'])('the key %j is refused by its name', async (key) => {
    const answer = await create('x', key)
    expect([answer.status, (await read(answer)).errors?.[0]?.field]).toEqual([400, 'Idempotency-Key'])
  })

  test('another body is 422', async () => {
    await create('first', 'k-3')
    const answer = await create('second', 'k-3')
    expect([answer.status, (await read(answer)).type]).toEqual([422, '/docs/problems/idempotency-mismatch'])
  })

  test('a replica that dies under way, and clients that try again: every command has one effect', async () => {
    const victim = await startReadyRuntime(world)
    const COUNT = 200
    const keys = Array.from({ length: COUNT }, (_, index) => `dies-${index}`)
    let answered = 0
    const sent = keys.map(async (key) => {
      const answer = await create(key, key, victim.url).catch(() => undefined)
      if (answer?.status === 201) answered += 1
      if (answered === 20) victim.process.kill('SIGKILL')
    })
    await Promise.all(sent)
    const gone = victim.process.exitCode ?? victim.process.signalCode
    if (gone === null) await once(victim.process, 'exit')
    const retried = await Promise.all(keys.map((key) => create(key, key, other.url)))
    expect(retried.map(({ status }) => status)).toEqual(keys.map(() => 201))
    const replayed = retried.filter(({ headers }) => headers.get('idempotency-replayed') === 'true').length
    const ids = new Set(await Promise.all(retried.map(async (answer) => (await read(answer)).id)))
    const { rows } = await world.database.admin.query(
      `SELECT count(*)::int AS tasks FROM ${acme.tenant.route.schema}.tasks WHERE title LIKE 'dies-%'`,
    )
    printFigure(`HT-04: SIGKILL among ${COUNT} commands: ${answered} answered, ${replayed} had committed, ${rows[0]?.tasks} tasks`)
    expect([ids.size, rows[0]?.tasks]).toEqual([COUNT, COUNT])
    expect(replayed).toBeGreaterThanOrEqual(answered)
  })
})

describe('the audit log', () => {
  type Entry = { actor: string; action: string; result: string; target: string | null; requestId: string }
  const entries = async (query = ''): Promise<Entry[]> => (await read(await send(`/v1/admin/audit${query}`))).items

  test('tells what was done, refused and read, by whom and in which request', async () => {
    const asked = (id: string) => ({ headers: { 'x-request-id': id } })
    const task = await read(await send('/v1/tasks', { method: 'POST', json: { title: 'audited' }, ...asked('r-1') }))
    await send(`/v1/tasks/${task.id}/complete`, { method: 'POST', ...asked('r-2') })
    await send(`/v1/tasks/${task.id}/complete`, { method: 'POST', ...asked('r-3') })
    await send(MISSING, { method: 'DELETE', ...asked('r-4') })
    await send('/v1/admin/audit', asked('r-5'))
    const about = { actor: 'key:web', target: task.id }
    expect((await entries('?limit=6')).slice(1)).toMatchObject([
      { actor: 'key:web', action: 'ListAudit', result: 'done', target: null, requestId: 'r-5' },
      { action: 'DeleteTask', result: 'not-found', target: MISSING.split('/').at(-1), requestId: 'r-4' },
      { ...about, action: 'CompleteTask', result: 'conflict', requestId: 'r-3' },
      { ...about, action: 'CompleteTask', result: 'done', requestId: 'r-2' },
      { ...about, action: 'CreateTask', result: 'done', requestId: 'r-1' },
    ])
  })

  test('goes on page by page without a gap, also under a filter', async () => {
    for (let index = 0; index < 5; index += 1) {
      await create(`page ${index}`, `page-${index}`)
      await send(MISSING, { method: 'DELETE' })
    }
    for (const filter of ['', '&action=CreateTask', '&actor=key:web']) {
      const pages: Entry[] = []
      let cursor: string | null = ''
      for (let page = 0; cursor !== null && page < 4; page += 1) {
        const answer = await read(await send(`/v1/admin/audit?limit=3${filter}${cursor && `&cursor=${cursor}`}`))
        pages.push(...answer.items)
        cursor = answer.nextCursor
      }
      // The reads themselves are noted at the newer end, and move nothing behind a cursor.
      const whole = (await entries(`?limit=100${filter}`)).map(({ requestId }) => requestId)
      const start = whole.indexOf(pages[0]?.requestId ?? '')
      expect(pages.map(({ requestId }) => requestId)).toEqual(whole.slice(start, start + pages.length))
      expect(pages).toHaveLength(12)
    }
  })

  test('is for administrators, who see their own tenant; who may not is in the log', async () => {
    expect((await send('/v1/admin/audit', { as: reader })).status).toBe(403)
    const foreign: Entry[] = (await read(await send('/v1/admin/audit', { as: globex }))).items
    expect(foreign.map(({ action }) => action)).toEqual(['ListAudit'])
    const { rows } = await world.database.admin.query(`SELECT action, result FROM ${reader.tenant.route.schema}.audit`)
    expect(rows).toEqual([{ action: 'ListAudit', result: 'forbidden' }])
  })
})
