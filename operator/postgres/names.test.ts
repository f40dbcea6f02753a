import fc from 'fast-check'
import { expect, test } from 'vitest'
import { physicalNames, shardNames } from './names.ts'

const PLAIN = /^[a-z_][a-z0-9_]{0,62}$/
const database = fc.stringMatching(/^[a-z_][a-z0-9_]{0,49}$/)
const uuid = fc.uuid()
const shared = ({ runtime, tenants, rows, login }: ReturnType<typeof shardNames>) => [runtime, tenants, rows, login]

test('PG-13: no name of a Shard is cut by Postgres, and no two Shards share a role, however alike their databases are called', () => {
  const alike = fc.tuple(database, fc.constantFrom('', '_runtime', '_tenants', '_rows', '_runtime_a', '_template'))
  fc.assert(
    fc.property(alike, database, ([start, end], other) => {
      const one = shardNames(start)
      for (const name of Object.values(one)) expect(name).toMatch(PLAIN)
      for (const second of [`${start}${end}`, other]) {
        if (second === start) continue
        expect(shared(one).filter((role) => shared(shardNames(second)).includes(role))).toEqual([])
      }
    }),
    { numRuns: 10_000 },
  )
})

test('PG-13: a tenant has names of its own, whole and plain, that come from its UID alone', () => {
  fc.assert(
    fc.property(database, uuid, uuid, (name, first, second) => {
      const names = shardNames(name)
      const [one, other] = [first, second].map((uid) => [
        physicalNames('schema', names, uid).schema,
        physicalNames('database', names, uid).database,
      ])
      for (const physical of one ?? []) expect(physical).toMatch(PLAIN)
      expect(first === second || one?.[0] !== other?.[0]).toBe(true)
    }),
    { numRuns: 10_000 },
  )
})
