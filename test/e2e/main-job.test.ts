import { expect, test } from 'vitest'
import { apply, ask, createTenant, eventually, kubectl, replicas, tenantYaml, token } from './platform.ts'

test('the samples are Ready after make up, one on each shard', async () => {
  const list = await kubectl(['get', 'tenants', '-o', 'jsonpath={range .items[*]}{.status.shard} {.status.phase}{"\\n"}{end}'])
  const lines = list.trim().split('\n')
  expect(new Set(lines)).toEqual(new Set(['shard-a Ready', 'shard-b Ready']))
})

const ISOLATIONS = ['row', 'schema', 'database'] as const

test.each(ISOLATIONS)('%s: from apply to a served request: Ready means that every replica serves the very next one', async (isolation) => {
  for (const round of [1, 2, 3]) {
    const key = await createTenant(`prompt-${isolation}-${round}`, round % 2 === 0 ? 'shard-a' : 'shard-b', { isolation })
    const replies = await Promise.all(replicas.map((base) => ask(base, key, 'GET', '/v1/tasks')))
    expect(replies.map((reply) => reply.status)).toEqual([200, 200])
  }
})

test.each(ISOLATIONS)('%s: a task goes from create to statistics through NATS, on both replicas', async (isolation) => {
  const key = await createTenant(`journey-${isolation}`, 'shard-a', { isolation })
  const [one, other] = replicas
  const created = await ask(one, key, 'POST', '/v1/tasks', { title: 'Write the report', priority: 'high', tags: ['q4'] })
  expect(created.status).toBe(201)
  const path = created.headers.get('location') ?? ''
  expect(path).toBe(`/v1/tasks/${created.body.id}`)
  expect(created.headers.get('etag')).toBe('"1"')

  expect((await ask(other, key, 'GET', path)).body).toEqual(created.body)
  expect((await ask(other, key, 'PATCH', path, { status: 'in_progress' })).body).toMatchObject({ status: 'in_progress', version: 2 })
  expect((await ask(one, key, 'POST', `${path}/complete`)).body).toMatchObject({ status: 'completed', version: 3 })
  expect((await ask(one, key, 'GET', '/v1/tasks?status=completed&tag=q4')).body).toMatchObject({
    items: [{ id: created.body.id }],
    nextCursor: null,
  })

  for (const base of replicas) {
    await eventually(async () => {
      const statistics = await ask(base, key, 'GET', '/v1/tasks/statistics')
      expect(statistics.body).toMatchObject({
        total: 1,
        completed: 1,
        pending: 0,
        overdue: 0,
        byPriority: { high: 1 },
        byStatus: { completed: 1 },
      })
    })
  }

  expect((await ask(other, key, 'DELETE', path)).status).toBe(204)
  expect((await ask(other, key, 'GET', path)).status).toBe(404)
  await eventually(async () => expect((await ask(one, key, 'GET', '/v1/tasks/statistics')).body).toMatchObject({ total: 0, completed: 0 }))
})

test.each(ISOLATIONS)('%s: a user is made, has a task, and is erased, on both replicas', async (isolation) => {
  const key = await createTenant(`people-${isolation}`, 'shard-b', { isolation })
  const [one, other] = replicas
  const user = await ask(one, key, 'POST', '/v1/users', { email: 'Ann@Example.com', displayName: 'Ann Lee' })
  expect([user.status, user.body.email]).toEqual([201, 'ann@example.com'])
  expect((await ask(other, key, 'POST', '/v1/users', { email: 'ann@example.com', displayName: 'Ann' })).status).toBe(409)
  const task = await ask(other, key, 'POST', '/v1/tasks', { title: 'Call back', assignee: user.body.id })
  expect(task.status).toBe(201)
  const [userPath, taskPath] = [`/v1/users/${user.body.id}`, `/v1/tasks/${task.body.id}`]
  for (const base of replicas) expect((await ask(base, key, 'GET', userPath)).body).toEqual(user.body)
  expect((await ask(one, key, 'GET', taskPath)).body).toEqual(task.body)

  expect((await ask(other, key, 'DELETE', userPath)).status).toBe(204)
  for (const base of replicas) expect((await ask(base, key, 'GET', userPath)).status).toBe(404)
  for (const base of replicas)
    await eventually(async () => expect((await ask(base, key, 'GET', taskPath)).body).toMatchObject({ assignee: null, version: 2 }))
  expect((await ask(one, key, 'POST', '/v1/tasks', { title: 'x', assignee: user.body.id })).status).toBe(400)
})

test('a Tenant that names a Shard which does not exist says so, and heals when it appears', async () => {
  await apply(tenantYaml('early', { shardRef: { name: 'shard-late' }, apiKeys: [{ name: 'main' }] }))
  await eventually(async () =>
    expect(await kubectl(['get', 'tenant', 'early', '-o', 'jsonpath={.status.conditions[?(@.type=="Placed")].status}'])).toBe('False'),
  )
  const shard = JSON.parse(await kubectl(['get', 'shard', 'shard-b', '-o', 'json']))
  const database = { ...shard.spec.endpoint, database: 'late' }
  await apply(
    JSON.stringify({ ...shard, metadata: { name: 'shard-late' }, status: undefined, spec: { ...shard.spec, endpoint: database } }),
  )
  await kubectl(['wait', '--for=condition=Ready', 'tenant/early', '--timeout=60s'])
  expect((await ask(replicas[0], await token('early', 'main'), 'POST', '/v1/tasks', { title: 'late but here' })).status).toBe(201)
})

test.each(ISOLATIONS)('%s: deleting keeps the data by default and says so; Delete leaves nothing', async (isolation) => {
  const [keptName, goneName] = [`kept-${isolation}`, `gone-${isolation}`]
  const kept = await createTenant(keptName, 'shard-a', { isolation })
  const gone = await createTenant(goneName, 'shard-a', { isolation, deletionPolicy: 'Delete' })
  const events = () =>
    kubectl(['get', 'events', '-o', 'jsonpath={range .items[*]}{.involvedObject.name}{.regarding.name} {.message}{.note}{"\\n"}{end}'])
  await kubectl(['delete', 'tenant', keptName, goneName, '--timeout=60s'])
  for (const key of [kept, gone])
    for (const base of replicas) await eventually(async () => expect((await ask(base, key, 'GET', '/v1/tasks')).status).toBe(401), 5)
  await eventually(async () => expect(await events()).toMatch(new RegExp(`^${keptName} Kept: .* on Shard shard-a`, 'm')))
  for (const name of [keptName, goneName]) await expect(kubectl(['get', 'secret', `${name}-apikey-main`])).rejects.toThrow(/not found/i)
})
