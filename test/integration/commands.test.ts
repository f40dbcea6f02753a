import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { TenantryError } from '../../runtime/errors.ts'
import type { TenantContext } from '../../runtime/tenancy/context.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { ask, command, openReplicas, type Replicas } from '../builders/runtime.ts'

let database: TestDatabase
let replicas: Replicas

beforeAll(async () => {
  database = await createDatabase(inject('postgres'))
  replicas = openReplicas(database)
})

afterAll(async () => {
  await replicas?.close()
  await database.drop()
})

/** One of the two replicas. */
const bus = (index?: number) => replicas.bus(index)

function query(tenant: TenantContext, name: string, raw: object) {
  return ask(replicas.session(), tenant, name, raw)
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: TenantryError) => error.code,
  )
}

const only = (version: number) => ({ accepts: (found: number) => found === version })
const times = (count: number) => Array.from({ length: count }, (_, index) => index)

describe.for(ISOLATIONS)('tasks, isolation %s', (isolation) => {
  test('the answer of a command has the same bytes as the query of it', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { id: assignee } = await command(bus(), tenant, 'RegisterUser', { email: 'ann@example.com', displayName: 'Ann' })
    const input = {
      title: 'quotes " \\ / \u0001 \u007f \u2028 é 🎈',
      description: 'lines\n\tand tabs',
      tags: ['a,b', '"', '{}', 'NULL'],
      dueDate: '2030-01-01T12:00:00.123456+02:00',
      assignee,
    }
    const made = await command(bus(), tenant, 'CreateTask', input)
    expect(await query(tenant, 'GetTask', { id: made.id })).toEqual({ body: made.body, version: 1, position: 2 })
    expect(JSON.parse(made.body ?? '')).toMatchObject({
      ...input,
      dueDate: '2030-01-01T10:00:00.123Z',
      priority: 'medium',
      status: 'pending',
      version: 1,
    })
    const changed = await command(bus(), tenant, 'UpdateTask', {
      id: made.id,
      dueDate: null,
      description: null,
      assignee: null,
      status: 'in_progress',
    })
    expect(await query(tenant, 'GetTask', { id: made.id })).toEqual({ body: changed.body, version: 2, position: 3 })
    expect(JSON.parse(changed.body ?? '')).toMatchObject({ dueDate: null, description: null, assignee: null, status: 'in_progress' })
    const completed = await command(bus(), tenant, 'CompleteTask', { id: made.id })
    expect(await query(tenant, 'GetTask', { id: made.id })).toEqual({ body: completed.body, version: 3, position: 4 })
  })

  test('nothing to change is no event; completing twice is a conflict; what is deleted is gone', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { id, body } = await command(bus(), tenant, 'CreateTask', { title: 'once' })
    expect(await command(bus(), tenant, 'UpdateTask', { id, title: 'once' })).toEqual({ id, version: 1, position: 1, body })
    await command(bus(), tenant, 'CompleteTask', { id })
    expect(await codeOf(command(bus(), tenant, 'CompleteTask', { id }))).toBe('conflict')
    expect(await codeOf(command(bus(), tenant, 'UpdateTask', { id, title: 'x' }, only(1)))).toBe('precondition-failed')
    expect(await command(bus(), tenant, 'DeleteTask', { id }, only(2))).toEqual({ id, version: 3, position: 3, body: undefined })
    expect(await query(tenant, 'GetTask', { id })).toBeUndefined()
    expect(await codeOf(command(bus(), tenant, 'DeleteTask', { id }))).toBe('not-found')
  })

  test('lists page through everything once, newest first, and filter', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { id: ann } = await command(bus(), tenant, 'RegisterUser', { email: 'ann@example.com', displayName: 'Ann' })
    const made = await Promise.all(
      times(23).map((index) =>
        command(bus(index), tenant, 'CreateTask', {
          title: `task ${index}`,
          tags: index % 2 === 0 ? ['even', 'all'] : ['all'],
          assignee: index < 5 ? ann : null,
        }),
      ),
    )
    const pages: string[] = []
    let cursor: string | null | undefined
    do {
      const answer = await query(tenant, 'ListTasks', { limit: '5', ...(cursor ? { cursor } : {}) })
      const page = JSON.parse(answer?.body ?? '')
      pages.push(...page.items.map(({ id }: { id: string }) => id))
      cursor = page.nextCursor
      expect(answer?.position).toBe(24)
    } while (cursor)
    expect(pages).toEqual(
      made
        .map(({ id }) => id)
        .toSorted()
        .toReversed(),
    )
    const even = await query(tenant, 'ListTasks', { tag: 'even', assignee: ann, status: 'pending', priority: 'medium', limit: '100' })
    expect(JSON.parse(even?.body ?? '').items).toHaveLength(3)
    expect(JSON.parse((await query(tenant, 'ListTasks', { assignee: tenant.uid }))?.body ?? '')).toEqual({ items: [], nextCursor: null })
  })
})

describe.for(ISOLATIONS)('concurrency, isolation %s', (isolation) => {
  test('MQ-09: of 50 writers that name the version exactly one wins', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { id } = await command(bus(), tenant, 'CreateTask', { title: 'start' })
    for (const version of [1, 2, 3]) {
      const codes = await Promise.all(
        times(50).map((index) => codeOf(command(bus(index), tenant, 'UpdateTask', { id, title: `${version}-${index}` }, only(version)))),
      )
      expect(codes.filter((code) => code === 'done')).toHaveLength(1)
      expect(new Set(codes)).toEqual(new Set(['done', 'precondition-failed']))
    }
  })

  test('MQ-09: 50 writers that do not name it lose no update', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { id } = await command(bus(), tenant, 'CreateTask', { title: 'start' })
    const outcomes = await Promise.all(times(50).map((index) => command(bus(index), tenant, 'UpdateTask', { id, title: `title ${index}` })))
    expect(outcomes.map(({ version }) => version).toSorted((a, b) => a - b)).toEqual(times(50).map((index) => index + 2))
    const history = await database.asTenant(tenant, "SELECT data->'changed'->>'title' AS title FROM events WHERE type = 'task.updated'")
    expect(new Set(history.map(({ title }) => title)).size).toBe(50)
  })

  test('positions are dense, in commit order, and what callers were told, over two replicas', async () => {
    const tenant = await database.tenant('acme', isolation)
    const outcomes = await Promise.all(times(300).map((index) => command(bus(index), tenant, 'CreateTask', { title: `task ${index}` })))
    expect(outcomes.map(({ position }) => position).toSorted((a, b) => a - b)).toEqual(times(300).map((index) => index + 1))
    const events = await database.asTenant(
      tenant,
      'SELECT position::int, aggregate_id AS id, xmin::text AS commit FROM events ORDER BY position',
    )
    expect(events.map(({ position, id }) => `${position} ${id}`)).toEqual(
      outcomes.toSorted((a, b) => a.position - b.position).map(({ position, id }) => `${position} ${id}`),
    )
    // They shared commits.
    expect(new Set(events.map(({ commit }) => commit)).size).toBeLessThan(100)
    expect(await database.asTenant(tenant, 'SELECT position::int FROM tenantry.head')).toEqual([{ position: 300 }])
  })

  test('one command that Postgres refuses does not take the others of its commit along', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { signal } = new AbortController()
    const bad = { title: 'null \u0000 byte', description: null, priority: 'low', tags: [], dueDate: null, assignee: null }
    const codes = await Promise.all(
      times(20).map((index) =>
        codeOf(
          index === 7 ? bus().execute(tenant, 'CreateTask', bad, { signal }) : command(bus(), tenant, 'CreateTask', { title: 'good' }),
        ),
      ),
    )
    expect(codes).toEqual(times(20).map((index) => (index === 7 ? 'internal' : 'done')))
    expect(await database.asTenant(tenant, 'SELECT count(*)::int, max(position)::int FROM events')).toEqual([{ count: 19, max: 19 }])
  })

  test('a writer with an old epoch is refused by the database and told to try again', async () => {
    const tenant = await database.tenant('acme', isolation)
    const admin = await database.adminOf(tenant)
    await admin.query('UPDATE tenantry.head SET epoch = 2 WHERE tenant = $1', [tenant.uid])
    const refused = await command(bus(), tenant, 'CreateTask', { title: 'late' }).catch((error) => error)
    expect(refused).toMatchObject({ code: 'shard-unavailable', retryAfter: 1 })
    expect(await database.asTenant(tenant, 'SELECT 1 FROM events UNION ALL SELECT 1 FROM tasks')).toEqual([])
    const moved = { ...tenant, route: { ...tenant.route, epoch: 2 } }
    expect(await command(bus(), moved, 'CreateTask', { title: 'in time' })).toMatchObject({ position: 1 })
  })

  test('a command whose caller went away before it was sent is not carried out', async () => {
    const tenant = await database.tenant('acme', isolation)
    const input = { title: 'gone', description: null, priority: 'low', tags: [], dueDate: null, assignee: null }
    const first = command(bus(), tenant, 'CreateTask', { title: 'first' })
    const controller = new AbortController()
    const second = bus().execute(tenant, 'CreateTask', input, { signal: controller.signal })
    controller.abort(new Error('gone'))
    await expect(second).rejects.toThrow('gone')
    await first
    expect(await database.asTenant(tenant, 'SELECT title FROM tasks')).toEqual([{ title: 'first' }])
  })
})
