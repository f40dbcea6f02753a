import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { escapeIdentifier } from 'pg'

/** One numbered file of config/migrations. */
export type Migration = { version: number; name: string; sql: string }

/** The migrations of a Shard's database, and those of each tenant. */
export type Migrations = { database: readonly Migration[]; tenant: readonly Migration[] }

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/

/**
 * Reads a folder such as config/migrations. Throws when a number is missing or stands twice, since what runs must be the same on every
 * machine, and when one of tenants' tables is no change of their shape.
 */
export async function readMigrations(folder: string): Promise<Migrations> {
  const [database, tenant] = await Promise.all([readFolder(join(folder, 'database')), readFolder(folder)])
  for (const migration of tenant) checkShape(folder, migration)
  return { database, tenant }
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

// Comments, and what stands in quotes: no semicolon or word of it begins a statement.
const OPAQUE = /--[^\n]*|\/\*[\s\S]*?\*\/|(\$\w*\$)[\s\S]*?\1|\bE'(?:\\.|''|[^'\\])*'|'(?:''|[^'])*'|"(?:""|[^"])*"/gi
const CHANGES_SHAPE = /^(ALTER|COMMENT|CREATE|DROP|GRANT|REVOKE)\b/i
const MAKES_ROWS = /^CREATE\b.*\b(TABLE|VIEW)\b[^(]*\bAS\b/is

/**
 * Row-level security hides every row of the shared tables from who migrates them: an UPDATE there would change nothing, and nobody would be
 * told. So statements that change or read rows are refused, and with them whatever would end the transaction.
 */
function checkShape(folder: string, { version, name, sql }: Migration): void {
  const statements = sql.replaceAll(OPAQUE, (hidden) => (/^[-/]/.test(hidden) ? ' ' : "''")).split(';')
  const wrong = statements.map((one) => one.trim()).find((one) => one !== '' && (!CHANGES_SHAPE.test(one) || MAKES_ROWS.test(one)))
  if (wrong === undefined) return
  const file = `${String(version).padStart(4, '0')}_${name}.sql`
  throw new Error(
    `${join(folder, file)}: "${wrong.slice(0, 40)}" changes or reads rows, and those of the shared tables are hidden from a migration: only ALTER, COMMENT, CREATE, DROP, GRANT and REVOKE may stand here`,
  )
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
