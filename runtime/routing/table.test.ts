import { expect, test } from 'vitest'
import { formatRouting, parseRouting } from '../../config/routing.ts'
import { buildDocument, buildKey, buildRoute } from '../../test/builders/routing.ts'
import { buildTable, EMPTY_TABLE } from './table.ts'

const login = { username: 'u', password: 'p' }
const endpoint = { host: 'db', port: 5432, database: 'tenantry', tls: 'verify-full' as const }

test('a tenant is found by id, uid, host and key', () => {
  const { key } = buildKey()
  const route = buildRoute({ id: 'acme', hosts: ['Tasks.Example'], keys: [key] })
  const table = buildTable([buildDocument([route])], new Map(), new Map())
  expect(table.byId.get('acme')).toBe(route)
  expect(table.byUid.get(route.uid)).toBe(route)
  expect(table.byHost.get('tasks.example')).toBe(route)
  expect(table.byKey.get(key.prefix)).toMatchObject([{ route, caller: `key:${key.name}` }])
  expect(table.faults).toEqual([])
})

test('a document with limits is read, and one that was written before there were any', () => {
  const limits = { statementMs: 2_000, lockMs: 1_000, idleInTransactionMs: 6_000 }
  const routes = [buildRoute({ limits }), buildRoute()]
  expect(parseRouting(formatRouting(buildDocument(routes)))).toEqual({ ok: true, value: buildDocument(routes) })
})

test('TI-02: what two tenants claim is given to neither, and told', () => {
  const { key } = buildKey()
  const [one, two] = [buildRoute({ hosts: ['x.example'], keys: [key] }), buildRoute({ hosts: ['x.example'], keys: [key] })]
  const table = buildTable([buildDocument([one]), buildDocument([two])], new Map(), new Map())
  expect([table.byHost.size, table.byKey.size, table.byUid.size]).toEqual([0, 0, 2])
  expect(table.faults).toEqual(['two tenants with the host x.example', 'two tenants with the same key'])
  expect(table.faults.join()).not.toContain(key.sha256)
})

test('a host that one tenant lists twice stays its own', () => {
  const route = buildRoute({ hosts: ['x.example', 'X.example'] })
  expect(buildTable([buildDocument([route])], new Map(), new Map()).byHost.get('x.example')).toBe(route)
})

test('a Shard is there once its login is, and stays the same object until something of it changes', () => {
  const documents = [buildDocument([], { a: endpoint, b: endpoint })]
  const first = buildTable(documents, new Map([['a', login]]), EMPTY_TABLE.shards)
  expect([...first.shards.keys()]).toEqual(['a'])
  const same = buildTable([buildDocument([], { a: { ...endpoint } })], new Map([['a', { ...login }]]), first.shards)
  expect(same.shards.get('a')).toBe(first.shards.get('a'))
  const rotated = buildTable(documents, new Map([['a', { ...login, password: 'q' }]]), same.shards)
  expect(rotated.shards.get('a')).not.toBe(same.shards.get('a'))
  const shared = buildTable([buildDocument([], { a: { ...endpoint, connections: 31 } })], new Map([['a', login]]), same.shards)
  expect(shared.shards.get('a')).toMatchObject({ connections: 31 })
})

test('HT-15: a replica that comes leaves a Shard out while it settles, one that serves keeps it', () => {
  const settling = [buildDocument([], { a: { ...endpoint, connections: 4, settling: true } })]
  const logins = new Map([['a', login]])
  const comes = buildTable(settling, logins, EMPTY_TABLE.shards)
  expect([comes.shards.size, comes.waits]).toEqual([0, true])
  const serves = buildTable(settling, logins, buildTable([buildDocument([], { a: endpoint })], logins, EMPTY_TABLE.shards).shards)
  expect([serves.shards.get('a')?.connections, serves.waits]).toEqual([4, false])
  const settled = [buildDocument([], { a: { ...endpoint, connections: 4 } })]
  expect(buildTable(settled, logins, comes.shards).shards.get('a')?.connections).toBe(4)
  expect(buildTable(settled, logins, serves.shards).shards.get('a')).toBe(serves.shards.get('a'))
})
