import { expect, test } from 'vitest'
import { buildDocument, buildKey, buildRoute } from '../test/builders/routing.ts'
import { formatRouting, parseRouting, ROUTING_VERSION } from './routing.ts'

const shard = { host: 'db', port: 5432, database: 'tenantry', tls: 'verify-full' as const }
const { key } = buildKey()
const text = formatRouting(buildDocument([buildRoute({ keys: [key] })], { 'shard-a': shard }))
const document = () => JSON.parse(text)

test('OP-24: a newer format is refused whole, with what it is and what is read', () => {
  const newer = { ...document(), version: ROUTING_VERSION + 1, tenants: { by: 'name' } }
  const faults = [`version: is ${ROUTING_VERSION + 1}, and this program reads ${ROUTING_VERSION}`]
  expect(parseRouting(JSON.stringify(newer))).toEqual({ ok: false, newer: true, faults })
  expect(parseRouting('version: 0')).toMatchObject({ ok: false })
  expect(parseRouting('version: 0')).not.toHaveProperty('newer')
})

test('OP-24: what a newer operator adds to be passed over is passed over', () => {
  const added = document()
  Object.assign(added, { note: 1 })
  Object.assign(added.tenants[0], { region: 'eu' })
  Object.assign(added.shards['shard-a'], { weight: 2 })
  expect(parseRouting(JSON.stringify(added))).toEqual({ ok: true, value: document() })
})

test.each([
  ['a key', (route: { keys: object[] }) => Object.assign(route.keys[0] ?? {}, { addresses: ['10.0.0.0/8'] })],
  [
    'an issuer',
    (route: object) => Object.assign(route, { jwt: { issuer: 'i', audiences: ['a'], algorithms: ['ES256'], subjects: ['s'] } }),
  ],
])('OP-24: what it adds to %s is never passed over', (_, change) => {
  const added = document()
  change(added.tenants[0])
  expect(parseRouting(JSON.stringify(added))).toMatchObject({ ok: false })
})
