import { createHash } from 'node:crypto'
import { get } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest'
import { SCOPES } from '../../config/routing.ts'
import { printFigure } from '../builders/figure.ts'
import { connectAsSuperuser } from '../builders/provision.ts'
import { residentMiB } from '../builders/resident.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startReadyRuntime, type World } from '../builders/world.ts'

const PATH = '/v1/admin/export'
const BIG = 100_000
let world: World
let runtime: RunningRuntime
let acme: RoutedTenant
let globex: RoutedTenant
let big: RoutedTenant

beforeAll(async () => {
  world = await createWorld()
  acme = await world.addTenant('acme', {}, [...SCOPES])
  globex = await world.addTenant('globex', {}, [...SCOPES])
  big = await world.addTenant('big', {}, ['tenant:admin'])
  runtime = await startReadyRuntime(world, { TENANTRY_REQUEST_DEADLINE_MS: '2000' })
})

afterAll(async () => {
  await runtime?.stop()
  await world?.remove()
})

type Line = { kind: string; after?: string; data?: Record<string, unknown>; counts?: Record<string, number>; sha256?: string }

const ask = (path: string, { token }: RoutedTenant) => fetch(`${runtime.url}${path}`, { headers: { 'x-api-key': token } })
const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

async function post(path: string, json: object, { token }: RoutedTenant): Promise<Record<string, unknown>> {
  const headers = { 'x-api-key': token, 'content-type': 'application/json' }
  return JSON.parse(await (await fetch(`${runtime.url}${path}`, { method: 'POST', headers, body: JSON.stringify(json) })).text())
}

/** What the last line says, having checked that it is true of those before. */
function checked(text: string): Line {
  const cut = text.trimEnd().lastIndexOf('\n') + 1
  const end: Line = JSON.parse(text.slice(cut))
  expect(end.kind).toBe('end')
  expect(end.sha256).toBe(createHash('sha256').update(text.slice(0, cut)).digest('hex'))
  for (const [kind, count] of Object.entries(end.counts ?? {}))
    expect(linesOf(text).filter((line) => line.kind === kind)).toHaveLength(count)
  return end
}

test('everything of the tenant is in it, and nothing of another', async () => {
  const user = await post('/v1/users', { email: 'ann@example.com', displayName: 'Ann' }, acme)
  const task = await post('/v1/tasks', { title: 'of acme', assignee: user.id }, acme)
  await post('/v1/tasks', { title: 'of globex' }, globex)
  const answer = await ask(PATH, acme)
  expect([answer.status, answer.headers.get('content-type'), answer.headers.get('content-length')]).toEqual([
    200,
    'application/x-ndjson',
    null,
  ])
  const text = await answer.text()
  expect(checked(text).counts).toMatchObject({ tasks: 1, users: 1, events: 2 })
  const [first, ...rest] = linesOf(text)
  expect(first).toMatchObject({ kind: 'tenant', data: { id: 'acme', isolation: 'schema', position: 2 } })
  const ofKind = (kind: string) => rest.filter((line) => line.kind === kind).map(({ data }) => data)
  expect([ofKind('users'), ofKind('tasks')]).toEqual([[user], [task]])
  expect(ofKind('events')).toMatchObject([
    { type: 'user.registered', position: 1, tenantid: acme.tenant.uid },
    { type: 'task.created', position: 2 },
  ])
  expect(ofKind('audit')).toMatchObject([
    { action: 'RegisterUser', result: 'done', target: user.id },
    { action: 'CreateTask', result: 'done', target: task.id },
    { action: 'ExportTenant', result: 'done', target: null },
  ])
  expect(text).not.toContain('globex')
  expect(text).not.toContain(globex.tenant.uid)
})

test('each table of a tenant is exported, or is made of what is', async () => {
  const client = await connectAsSuperuser(inject('postgres'), acme.tenant.route.database)
  const { rows } = await client.query<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text = $1 ORDER BY 1",
    [acme.tenant.route.schema],
  )
  await client.end()
  const { counts = {} } = checked(await (await ask(PATH, acme)).text())
  const MADE_OF_IT = ['checkpoints', 'idempotency', 'snapshots', 'sweeps', 'task_counts', 'task_due']
  const isMadeOfIt = (name: string) => MADE_OF_IT.includes(name.replace(/_snapshot$/, ''))
  expect(rows.map(({ name }) => name).filter((name) => !isMadeOfIt(name))).toEqual(Object.keys(counts).sort())
})

test('it is for those with the scope tenant:admin, and goes on only where it was', async () => {
  const other = await world.addTenant(
    'initech',
    {},
    SCOPES.filter((scope) => scope !== 'tenant:admin'),
  )
  await vi.waitFor(async () => expect((await ask(PATH, other)).status).toBe(403))
  expect((await fetch(`${runtime.url}${PATH}`)).status).toBe(401)
  expect((await ask(`${PATH}?from=1`, acme)).status).toBe(400)
  const line = linesOf(await (await ask(PATH, acme)).text()).find(({ after }) => after !== undefined)
  for (const after of ['x', 'eHh4eHh4eHhldmVudHMgMQ', `${line?.after}A`, 'a'.repeat(600)])
    expect(await (await ask(`${PATH}?after=${after}`, acme)).json()).toMatchObject({ status: 400, errors: [{ field: 'after' }] })
  expect((await ask(`${PATH}?after=${line?.after}`, globex)).status).toBe(400)
  const head = await fetch(`${runtime.url}${PATH}`, { method: 'HEAD', headers: { 'x-api-key': acme.token } })
  expect([head.status, await head.text()]).toEqual([200, ''])
})

test('broken off anywhere, it goes on behind the last line that arrived whole', async () => {
  for (let index = 0; index < 20; index += 1) await post('/v1/tasks', { title: `${index}` }, globex)
  const text = await (await ask(PATH, globex)).text()
  const whole = linesOf(text)
  for (const [index, { after }] of whole.entries()) {
    if (after === undefined) continue
    const rest = await (await ask(`${PATH}?after=${after}`, globex)).text()
    checked(rest)
    // Each export is noted in the log that it shows.
    const isOld = ({ kind, data }: Line) => kind !== 'end' && data?.action !== 'ExportTenant'
    expect(linesOf(rest).filter(isOld)).toEqual(whole.slice(index + 1).filter(isOld))
  }
})

/** The line of the last mark in a part of an answer, having checked that it is true of all before, and where the line stands. */
function lastMark(part: string): { mark: Line; at: number; isTrue: boolean } | undefined {
  const at = part.lastIndexOf('\n{"kind":"mark"') + 1
  const end = part.indexOf('\n', at)
  if (at === 0) return undefined
  if (end === -1) return lastMark(part.slice(0, at))
  const mark: Line = JSON.parse(part.slice(at, end))
  return { mark, at, isTrue: mark.sha256 === createHash('sha256').update(part.slice(0, at)).digest('hex') }
}

test('what arrived of an answer that was broken off is vouched for up to the last mark, and goes on behind it as a whole', async () => {
  const hooli = await world.addTenant('hooli', {}, ['tenant:admin'])
  await world.database.asTenant(
    hooli.tenant,
    `INSERT INTO tasks SELECT $1, gen_random_uuid(), 'task ' || n, NULL, 'low', 'pending', '{}', NULL, NULL, 1, n, now(), now(), NULL FROM generate_series(1, 1100) n`,
    [hooli.tenant.uid],
  )
  await vi.waitFor(async () => expect((await ask(PATH, hooli)).status).toBe(200))
  const whole = await (await ask(PATH, hooli)).text()
  checked(whole)
  const rows = (text: string) => linesOf(text).flatMap(({ kind, data }) => (kind === 'tasks' ? data : []))
  let marks = 0
  for (let cut = 1; cut < whole.length; cut += Math.ceil(whole.length / 37)) {
    const part = whole.slice(0, cut)
    const { mark, at, isTrue } = lastMark(part) ?? {}
    if (mark === undefined || at === undefined) continue
    marks += 1
    const rest = await (await ask(`${PATH}?after=${mark.after}`, hooli)).text()
    checked(rest)
    expect(isTrue).toBe(true)
    expect([...rows(part.slice(0, at)), ...rows(rest)]).toEqual(rows(whole))
    const spoiled = part.replace('task 7', 'task 8')
    expect(lastMark(spoiled)?.isTrue).toBe(false)
  }
  expect(marks).toBeGreaterThan(20)
  expect(linesOf(whole).filter(({ kind }) => kind === 'mark')).toHaveLength(4)
})

/** Reads slower than the server could write, longer than a request may take; gives what arrived. */
function readSlowly({ token }: RoutedTenant, until: (bytes: number) => boolean): Promise<{ text: string; isWhole: boolean }> {
  return new Promise((resolve, reject) => {
    const request = get(`${runtime.url}${PATH}`, { headers: { 'x-api-key': token } }, (answer) => {
      const chunks: Buffer[] = []
      let bytes = 0
      const read = async () => {
        for await (const chunk of answer) {
          chunks.push(chunk)
          bytes += chunk.length
          if (until(bytes)) break
          if (chunks.length % 200 === 0) await pause(2)
        }
      }
      const end = () => resolve({ text: Buffer.concat(chunks).toString(), isWhole: answer.complete })
      read().then(end, end)
    })
    request.on('error', reject)
  })
}

test('100,000 tasks, their events and their audit log take no more memory than a page, however slow the reader', {
  timeout: 120_000,
}, async () => {
  const { uid, route } = big.tenant
  await world.database.asTenant(
    big.tenant,
    `INSERT INTO tasks SELECT $1, gen_random_uuid(), 'task ' || n, repeat('x', 100), 'low', 'pending', '{}', NULL, NULL, 1, n, now(), now(), NULL FROM generate_series(1, ${BIG}) n`,
    [uid],
  )
  const admin = await world.database.adminOf(big.tenant)
  await admin.query(
    `INSERT INTO "${route.schema}".events SELECT '${uid}', n, gen_random_uuid(), 'task.created', gen_random_uuid(), 1, '{"title": "x"}', now(), 'CreateTask', 'key:test', 'r' FROM generate_series(1, ${BIG}) n`,
  )
  // What any work of this kind takes, however long it goes on.
  await readSlowly(big, (bytes) => bytes > 30_000_000)
  const before = await residentMiB(runtime.process.pid)
  let most = 0
  const watching = setInterval(async () => {
    most = Math.max(most, await residentMiB(runtime.process.pid))
  }, 100)
  const since = performance.now()
  const { text, isWhole } = await readSlowly(big, () => false)
  const seconds = (performance.now() - since) / 1_000
  clearInterval(watching)
  expect(isWhole).toBe(true)
  const cut = text.trimEnd().lastIndexOf('\n') + 1
  const end: Line = JSON.parse(text.slice(cut))
  expect(end).toMatchObject({ kind: 'end', counts: { tasks: BIG, users: 0, events: BIG, audit: BIG + 2 } })
  expect(end.sha256).toBe(createHash('sha256').update(text.slice(0, cut)).digest('hex'))
  const growth = most - before
  printFigure(
    `export: ${BIG} tasks, their events and audit log, ${(text.length / 2 ** 20).toFixed(0)} MiB in ${seconds.toFixed(1)} s, memory +${growth.toFixed(0)} MiB`,
  )
  expect(growth).toBeLessThan(64)
})

test('what fails on the way breaks the answer off, and the log says why', async () => {
  const admin = await world.database.adminOf(big.tenant)
  const events = `"${big.tenant.route.schema}".events`
  let renamed: Promise<unknown> | undefined
  const { text, isWhole } = await readSlowly(big, (bytes) => {
    if (bytes > 1_000_000) renamed ??= admin.query(`ALTER TABLE ${events} RENAME TO gone`)
    return false
  })
  await renamed
  expect(isWhole).toBe(false)
  expect(text).not.toContain('"kind":"end"')
  await vi.waitFor(() => expect(runtime.lines).toContainEqual(expect.objectContaining({ route: PATH, code: 'shard-unavailable' })))
  expect((await ask(PATH, globex)).status).toBe(200)
})
