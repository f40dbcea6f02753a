import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { formatCloudEvent } from '../../runtime/events/cloud-event.ts'
import { eventsAfter, toStoredEvent } from '../../runtime/events/store.ts'
import { createDatabase, ISOLATIONS, type TestDatabase } from '../builders/database.ts'
import { printFigure } from '../builders/figure.ts'
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

const bus = (index?: number) => replicas.bus(index)
const times = (count: number) => Array.from({ length: count }, (_, index) => index)
const ann = { email: ' Ann@Example.com', displayName: 'Ann Lee' }

async function refusalOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    ({ code, faults }) => [code, ...(faults ?? []).map(({ field }: { field: string }) => field)].join(' '),
  )
}

describe.for(ISOLATIONS)('users, isolation %s', (isolation) => {
  test('the answer of a command has the same bytes as the query of it; lists page', async () => {
    const tenant = await database.tenant('acme', isolation)
    const made = await command(bus(), tenant, 'RegisterUser', ann)
    expect(JSON.parse(made.body ?? '')).toMatchObject({ id: made.id, email: 'ann@example.com', displayName: 'Ann Lee', version: 1 })
    expect(await ask(replicas.session(), tenant, 'GetUser', { id: made.id })).toEqual({ body: made.body, version: 1, position: 1 })
    const others = await Promise.all(
      times(4).map((index) => command(bus(index), tenant, 'RegisterUser', { ...ann, email: `u${index}@example.com` })),
    )
    const all = [made, ...others].map(({ id }) => id).sort()
    const pages: string[] = []
    let cursor: string | null | undefined
    do {
      const answer = await ask(replicas.session(), tenant, 'ListUsers', { limit: '2', ...(cursor ? { cursor } : {}) })
      const page = JSON.parse(answer?.body ?? '')
      pages.push(...page.items.map(({ id }: { id: string }) => id))
      cursor = page.nextCursor
    } while (cursor)
    expect(pages).toEqual(all.toReversed())
    expect(await database.asTenant(tenant, "SELECT (counts ->> 'users')::int AS users FROM tenantry.head")).toEqual([{ users: 5 }])
  })

  test('an e-mail address is one user’s of a tenant, in whatever case, and says nothing of other tenants', async () => {
    const [acme, globex] = [await database.tenant('acme', isolation), await database.tenant('globex', isolation)]
    expect(await refusalOf(command(bus(), acme, 'RegisterUser', ann))).toBe('done')
    expect(await refusalOf(command(bus(1), acme, 'RegisterUser', { ...ann, email: 'ANN@example.COM' }))).toBe('conflict email')
    expect(await refusalOf(command(bus(), globex, 'RegisterUser', ann))).toBe('done')
    expect(await database.asTenant(acme, 'SELECT position::int FROM tenantry.head')).toEqual([{ position: 1 }])
  })

  test('MQ-09: of many who want one address at once one gets it, over two replicas, and nobody else is held up', async () => {
    const tenant = await database.tenant('acme', isolation)
    const wishes = times(60).map((index) => (index % 3 === 0 ? `u${index}@example.com` : `same${index % 2}@example.com`))
    const outcomes = await Promise.all(
      wishes.map((email, index) => refusalOf(command(bus(index), tenant, 'RegisterUser', { ...ann, email }))),
    )
    const done = outcomes.filter((outcome) => outcome === 'done').length
    printFigure(`users (${isolation}): 60 registrations at once, 20 of them alone with their address, ${done} done`)
    expect(done).toBe(22)
    expect(new Set(outcomes)).toEqual(new Set(['done', 'conflict email']))
    const [row] = await database.asTenant(
      tenant,
      `SELECT (SELECT count(*)::int FROM users) AS users, (SELECT (counts ->> 'users')::int FROM tenantry.head) AS counted,
              (SELECT array_agg(position::int ORDER BY position) FROM events) AS positions, (SELECT position::int FROM tenantry.head) AS head`,
    )
    expect(row).toEqual({ users: 22, counted: 22, positions: times(22).map((index) => index + 1), head: 22 })
  })

  test('what is told of a person stands in one row, and in no event', async () => {
    const tenant = await database.tenant('acme', isolation)
    const { id } = await command(bus(), tenant, 'RegisterUser', ann)
    const [event] = (await replicas.session().read(tenant, eventsAfter(tenant.uid, 0, 10))).map((row) => toStoredEvent(tenant.uid, row))
    if (event === undefined) throw new Error('no event')
    const published = JSON.parse(formatCloudEvent(event))
    expect(published).toMatchObject({
      type: 'user.registered',
      subject: id,
      userid: id,
      tenantid: tenant.uid,
      aggregateversion: 1,
      position: 1,
    })
    expect(Object.keys(published.data.user).sort()).toEqual(['createdAt', 'id', 'updatedAt'])
    const events = await database.asTenant(tenant, 'SELECT e::text AS text FROM events e')
    expect(JSON.stringify(events).toLowerCase()).not.toMatch(/ann/)
  })
})
