import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fill, latest, readMigrations } from './migrations.ts'
import { shardNames, tenantName } from './names.ts'

test('puts escaped names in the place of placeholders and leaves casts alone', () => {
  expect(fill('GRANT x TO :role; SELECT $1::uuid', { role: 'a"b' })).toBe('GRANT x TO "a""b"; SELECT $1::uuid')
  expect(() => fill('GRANT x TO :nobody', {})).toThrow(':nobody')
})

test('reads the migrations of this repository in order', async () => {
  const { database, tenant } = await readMigrations(join(import.meta.dirname, '..', '..', 'config', 'migrations'))
  expect(database.map(({ version }) => version)).toEqual(database.map((_, index) => index + 1))
  expect(latest(tenant)).toBe(tenant.length)
})

test('OP-19: physical names are never longer than 63 bytes', () => {
  expect(tenantName('0197FBD2-6d0e-7000-8000-000000000001')).toBe('t_0197fbd26d0e70008000000000000001')
  for (const name of Object.values(shardNames('a'.repeat(50)))) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63)
})
