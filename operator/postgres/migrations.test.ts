import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
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

const REFUSED = [
  "UPDATE tasks SET title = ''",
  'CREATE TABLE a (b int);\nDELETE FROM tasks',
  'INSERT INTO a SELECT * FROM tasks',
  'WITH gone AS (DELETE FROM tasks RETURNING *) SELECT count(*) FROM gone',
  'DO $$ BEGIN UPDATE tasks SET title = title; END $$',
  'CREATE TABLE copies AS SELECT * FROM tasks',
  'COMMIT',
  'CREATE TABLE a (b int) /* ; */ ; -- and\n TRUNCATE tasks',
  "COMMENT ON TABLE tasks IS E'it\\'s'; MERGE INTO tasks USING x ON true WHEN MATCHED THEN DELETE; --'",
]
const TAKEN = [
  "ALTER TABLE tasks ADD COLUMN a text DEFAULT 'x; UPDATE tasks'",
  'ALTER TABLE tasks ADD COLUMN "update; delete" text',
  '-- DELETE FROM tasks;\nCREATE INDEX i ON tasks (tenant_id)',
  'GRANT SELECT, INSERT, UPDATE, DELETE ON tasks TO :role',
  "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN NEW.title := 'x'; RETURN NEW; END $body$",
  'CREATE TABLE a (b int GENERATED ALWAYS AS (1) STORED);',
]

test.for([...REFUSED.map((sql) => [sql, false] as const), ...TAKEN.map((sql) => [sql, true] as const)])(
  'PG-17: changes the shape of tables, never rows, which it would not see: %s: %s',
  async ([sql, taken]) => {
    const folder = await mkdtemp(join(tmpdir(), 'tenantry-migrations-'))
    await mkdir(join(folder, 'database'))
    await writeFile(join(folder, '0001_it.sql'), sql)
    const read = readMigrations(folder).then(
      ({ tenant }) => tenant.length,
      (error: Error) => error.message,
    )
    expect(await read).toEqual(taken ? 1 : expect.stringContaining('changes or reads rows'))
    await rm(folder, { recursive: true })
  },
)
