import { request } from 'node:http'
import { beforeAll, expect, test } from 'vitest'
import { ask, createTenant, kubectl, replicas } from './platform.ts'

type Side = { name: string; key: string; task: string; user: string; cursor: string }
const sides: Side[] = []

beforeAll(async () => {
  for (const [name, shard, isolation] of [
    ['wall-a', 'shard-a', 'schema'],
    ['wall-b', 'shard-b', 'schema'],
    ['wall-c', 'shard-a', 'schema'],
    ['wall-d', 'shard-a', 'row'],
    ['wall-e', 'shard-a', 'row'],
    ['wall-f', 'shard-a', 'database'],
    ['wall-g', 'shard-a', 'database'],
  ] as const) {
    const key = await createTenant(name, shard, { isolation })
    const ids: string[] = []
    const { body: user } = await ask(replicas[0], key, 'POST', '/v1/users', { email: `${name}@example.com`, displayName: name })
    for (const title of ['one', 'two', 'three']) {
      const { body } = await ask(replicas[0], key, 'POST', '/v1/tasks', { title: `${name} ${title}`, assignee: user.id })
      ids.push(String(body.id))
    }
    const page = await ask(replicas[0], key, 'GET', '/v1/tasks?limit=1')
    sides.push({ name, key, task: ids[0] ?? '', user: String(user.id), cursor: String(page.body.nextCursor) })
  }
})

/** Every ordered pair of different tenants: on two shards, on the same one, and of every isolation. */
function pairs(): [Side, Side][] {
  return sides.flatMap((mine) => sides.filter((other) => other !== mine).map((other): [Side, Side] => [mine, other]))
}

test('by id: every method on another tenant’s task answers as for one that never was', async () => {
  const missing = '01890000-0000-7000-8000-000000000000'
  for (const [mine, other] of pairs()) {
    for (const [method, tail, body] of [
      ['GET', '', undefined],
      ['PATCH', '', { title: 'stolen' }],
      ['POST', '/complete', undefined],
      ['DELETE', '', undefined],
    ] as const) {
      const [foreign, absent] = await Promise.all(
        [other.task, missing].map((id) => ask(replicas[1], mine.key, method, `/v1/tasks/${id}${tail}`, body)),
      )
      expect(foreign?.status).toBe(404)
      expect({ ...foreign?.body, instance: '', requestId: '' }).toEqual({ ...absent?.body, instance: '', requestId: '' })
    }
    expect((await ask(replicas[1], other.key, 'GET', `/v1/tasks/${other.task}`)).body).toMatchObject({
      title: `${other.name} one`,
      version: 1,
    })
  }
})

test('by list, filter and cursor: only what is one’s own', async () => {
  for (const [mine, other] of pairs()) {
    for (const path of ['/v1/tasks', `/v1/tasks?cursor=${encodeURIComponent(other.cursor)}`, `/v1/tasks?assignee=${other.user}`]) {
      const reply = await ask(replicas[0], mine.key, 'GET', path)
      if (reply.status === 400) continue
      expect(reply.status).toBe(200)
      for (const item of reply.body.items as { title: string }[]) expect(item.title).toMatch(new RegExp(`^${mine.name} `))
    }
  }
})

test('by key: one tenant’s key with another’s host is refused, and so are a guessed and an empty key', async () => {
  // Each refusal waits for a look at the routing config, and those are few: a ring of pairs is enough.
  for (const [index, mine] of sides.entries()) {
    const other = sides[(index + 1) % sides.length] ?? mine
    expect(await byHost(`${other.name}.localhost`, mine.key)).toBe(400)
    expect(await byHost(`${mine.name}.localhost`, mine.key)).toBe(200)
  }
  expect(await byHost('wall-a.localhost', undefined)).toBe(401)
  expect(await byHost('wall-a.localhost', 'tnt_guessed')).toBe(401)
})

test('the runtime’s account may read routing and its own credentials, and nothing else', async () => {
  const can = (verb: string, what: string) =>
    kubectl(['auth', 'can-i', verb, what, '--as=system:serviceaccount:tenantry:tenantry-runtime', '-n', 'tenantry']).then(
      (answer) => answer.trim(),
      (error: Error) => (/\bno\b/.test(error.message) ? 'no' : error.message),
    )
  expect(await can('get', 'configmaps/tenantry-routing-00')).toBe('yes')
  expect(await can('get', 'secrets/tenantry-runtime-credentials')).toBe('yes')
  for (const secret of ['shard-a-admin', 'shard-b-admin', 'wall-a-apikey-main']) expect(await can('get', `secrets/${secret}`)).toBe('no')
  for (const [verb, what] of [
    ['list', 'secrets'],
    ['list', 'configmaps'],
    ['get', 'tenants.tenantry.dev'],
    ['get', 'shards.tenantry.dev'],
    ['update', 'configmaps/tenantry-routing-00'],
  ] as const)
    expect(await can(verb, what)).toBe('no')
})

/** The status of a list request whose Host header and key are as said. */
function byHost(host: string, key: string | undefined): Promise<number | undefined> {
  const { hostname, port } = new URL(replicas[0])
  return new Promise((resolve, reject) => {
    const headers = { host, ...(key === undefined ? {} : { 'x-api-key': key }) }
    request({ hostname, port, path: '/v1/tasks', headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode))
    })
      .on('error', reject)
      .end()
  })
}
