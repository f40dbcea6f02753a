import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { escapeIdentifier } from 'pg'

/** One numbered file of config/migrations. */
export type Migration = { version: number; name: string; sql: string }

/** The migrations of a Shard's database, and those of each tenant. */
export type Migrations = { database: readonly Migration[]; tenant: readonly Migration[] }

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/

/** Reads config/migrations. Throws when a number is missing or stands twice: what runs must be the same on every machine. */
export async function readMigrations(folder: string): Promise<Migrations> {
  return { database: await readFolder(join(folder, 'database')), tenant: await readFolder(folder) }
}

/** The number of the last migration: the version of a schema that is up to date. */
export function latest(migrations: readonly Migration[]): number {
  return migrations.at(-1)?.version ?? 0
}

/** The last numbers of both. */
export function latestOf({ database, tenant }: Migrations): { database: number; tenant: number } {
  return { database: latest(database), tenant: latest(tenant) }
}

/** Puts names in the place of `:name` placeholders, escaped as identifiers; `::type` casts stay. Throws on a placeholder without a value. */
export function fill(sql: string, names: Readonly<Record<string, string>>): string {
  return sql.replaceAll(/(?<!:):([a-z]+)\b/g, (_, placeholder: string) => {
    const name = names[placeholder]
    if (name === undefined) throw new Error(`the migration names :${placeholder}, which has no value here`)
    return escapeIdentifier(name)
  })
}

async function readFolder(folder: string): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort()
  return Promise.all(files.map((file, index) => readMigration(folder, file, index + 1)))
}

async function readMigration(folder: string, file: string, expected: number): Promise<Migration> {
  const [, digits, name] = FILE.exec(file) ?? []
  if (digits === undefined || name === undefined || Number(digits) !== expected) {
    throw new Error(`${join(folder, file)}: expected migration ${String(expected).padStart(4, '0')}_<name>.sql here`)
  }
  return { version: expected, name, sql: await readFile(join(folder, file), 'utf8') }
}
