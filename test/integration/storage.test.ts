import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Isolation } from '../../crds/tenant.ts'
import { ISOLATIONS } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
import { read, sendTo } from '../builders/http.ts'
import { createWorld, type RoutedTenant, type RunningRuntime, startRuntime, type World } from '../builders/world.ts'

const MIB = 2 ** 20
const LIMITS = { statementMs: 4_000, lockMs: 4_000, idleInTransactionMs: 10_000, storageMiB: 1 }
const LONG = { description: 'x'.repeat(10_000) }
let world: World
let runtimes: RunningRuntime[]

beforeAll(async () => {
  world = await createWorld()
  runtimes = await Promise.all([startRuntime(world), startRuntime(world)])
})

afterAll(async () => {
  await Promise.all((runtimes ?? []).map((runtime) => runtime.stop()))
  await world?.remove()
})

/** Sends for a tenant, to one replica and the other in turn. */
function callerOf(as: RoutedTenant) {
  let count = 0
  return (method: string, path: string, json?: object, headers = {}) => {
    count += 1
    return sendTo(runtimes[count % 2]?.url ?? '', path, { method, headers, ...(json && { json }), as })
  }
}

type Send = ReturnType<typeof callerOf>

const dataBytes = async (send: Send): Promise<number> => (await read(await send('GET', '/v1/tenant'))).usage.dataBytes

/** Makes tasks, several at once, until the tenant has all that it may; their ids. */
async function fill(send: Send): Promise<string[]> {
  const ids: string[] = []
  for (let isFull = false; !isFull; ) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => send('POST', '/v1/tasks', { title: 'long', ...LONG })))
    const made = answers.filter(({ status }) => status === 201)
    for (const answer of made) ids.push((await read(answer)).id)
    isFull = made.length < answers.length
    expect(ids.length).toBeLessThan(130)
  }
  return ids
}

/** What the head knows, and what its rows are as JSON, of both kinds. */
async function numbers({ tenant }: RoutedTenant) {
  const [row] = await world.database.asTenant(
    tenant,
    `SELECT (SELECT (counts ->> 'tasksBytes')::int FROM tenantry.head) AS tasks, (SELECT (counts ->> 'usersBytes')::int FROM tenantry.head) AS users`,
  )
  return row
}

describe.for(ISOLATIONS)('a limit of storage, isolation %s', (isolation: Isolation) => {
  test('with all that it may have a tenant gets no larger, all else goes on, and a deletion makes room at once', async () => {
    const acme = await world.addTenant(`full-${isolation}`, { isolation, limits: LIMITS })
    const send = callerOf(acme)
    const once = { 'idempotency-key': 'first' }
    const { id: user } = await read(await send('POST', '/v1/users', { email: 'ann@example.com', displayName: 'Ann' }))
    const { id: first } = await read(await send('POST', '/v1/tasks', { title: 'first', assignee: user }, once))
    const [one, ...ids] = await fill(send)
    const taken = await dataBytes(send)
    printFigure(`storage, isolation ${isolation}: of a MiB ${taken} bytes were taken by ${ids.length + 2} tasks and a user on 2 replicas`)
    expect(taken).toBeGreaterThanOrEqual(MIB)
    expect(taken).toBeLessThan(MIB + 20 * 10_500)

    const refused = await send('POST', '/v1/tasks', { title: 'one more' })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '60'])
    const detail = expect.stringContaining('all of the 1 MiB that they may. Delete some')
    expect(await read(refused)).toMatchObject({ type: '/docs/problems/quota-exceeded', detail })
    expect((await send('PATCH', `/v1/tasks/${first}`, { title: 'first, and longer than it was' })).status).toBe(429)
    expect((await send('POST', '/v1/users', { email: 'bob@example.com', displayName: 'Bob' })).status).toBe(429)

    const retried = await send('POST', '/v1/tasks', { title: 'first', assignee: user }, once)
    expect([retried.status, retried.headers.get('idempotency-replayed')]).toEqual([201, 'true'])
    const goesOn = [
      await send('GET', '/v1/tasks'),
      await send('GET', `/v1/tasks/${one}`),
      await send('POST', `/v1/tasks/${one}/complete`),
      await send('PATCH', `/v1/tasks/${first}`, { title: '1st' }),
      await send('DELETE', `/v1/users/${user}`),
      await send('DELETE', `/v1/tasks/${one}`),
    ]
    expect(goesOn.map(({ status }) => status)).toEqual([200, 200, 200, 200, 204, 204])

    const over = (await dataBytes(send)) - MIB
    for (const id of ids.slice(0, Math.ceil(over / 10_000) + 1)) await send('DELETE', `/v1/tasks/${id}`)
    expect(await dataBytes(send)).toBeLessThan(MIB)
    expect((await send('POST', '/v1/tasks', { title: 'one more' })).status).toBe(201)
  })

  test('the head knows to the byte what the tenant has, whatever was done', async () => {
    const acme = await world.addTenant(`exact-${isolation}`, { isolation })
    const send = callerOf(acme)
    const { id: user } = await read(await send('POST', '/v1/users', { email: 'zoë@example.com', displayName: 'Zoë "Z" \\ 🌱' }))
    await send('POST', '/v1/users', { email: 'bob@example.com', displayName: 'Bob' })
    const made = await Promise.all(
      ['one', 'zwölf', '三', '🌱', 'last'].map((title) => send('POST', '/v1/tasks', { title, tags: ['é', '"'], assignee: user })),
    )
    const [a, b, c] = (await Promise.all(made.map(read))).map(({ id }) => `/v1/tasks/${id}`)
    for (let turn = 0; turn < 10; turn += 1) await send('PATCH', a ?? '', { description: '\u00e9\n'.repeat(turn) })
    await send('POST', `${b}/complete`)
    await send('DELETE', c ?? '')
    await send('PATCH', a ?? '', { dueDate: '2030-01-01T00:00:00Z', description: null })
    await send('DELETE', `/v1/users/${user}`)
    const list = async (path: string) => (await read(await send('GET', path))).items
    const size = (items: object[]) => items.reduce((sum, item) => sum + Buffer.byteLength(JSON.stringify(item)), 0)
    const expected = async () => ({ tasks: size(await list('/v1/tasks')), users: size(await list('/v1/users')) })
    expect(await numbers(acme)).toEqual(await expected())

    // As an earlier version left it.
    await world.database.asTenant(acme.tenant, "UPDATE tenantry.head SET counts = '{}'")
    await send('PATCH', a ?? '', { title: 'known again' })
    await send('POST', '/v1/users', { email: 'eve@example.com', displayName: 'Eve' })
    expect(await numbers(acme)).toEqual(await expected())
    for (const { id } of await list('/v1/tasks')) await send('DELETE', `/v1/tasks/${id}`)
    expect(await numbers(acme)).toEqual({ ...(await expected()), tasks: 0 })
  })
})
