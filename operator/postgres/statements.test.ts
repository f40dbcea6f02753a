import fc from 'fast-check'
import { escapeIdentifier, escapeLiteral } from 'pg'
import { describe, expect, test } from 'vitest'
import * as databases from './databases.ts'
import { physicalNames, shardNames, tenantName } from './names.ts'
import { adoptRecord, checkOwner } from './owners.ts'
import { repairWall } from './repair.ts'
import * as rows from './rows.ts'
import { dropSpare } from './spares.ts'
import * as statements from './statements.ts'
import { tryAll } from './walls.ts'

const SQL = "CREATE TABLE notes (id uuid, note text DEFAULT '::role'::text); GRANT SELECT ON notes TO :role;"

/** Everything that makes SQL, with the same text in every place where a name or a value goes. */
function builders(text: string): [string, string][] {
  const names = { database: text, runtime: text, tenants: text, rows: text, login: text, spare: text, template: text }
  const tenant = { uid: text, installation: text, namespace: text, name: text, epoch: 1 }
  const place = { database: text, schema: text, role: text }
  const migration = { version: 1, name: text, sql: SQL }
  const limits = { connections: 5, statementMs: 1, lockMs: 2, idleInTransactionMs: 3 }
  return Object.entries({
    createDatabase: statements.createDatabase(names),
    markDatabase: statements.markDatabase(names, text, undefined),
    markDatabaseAnew: statements.markDatabase(names, text, text),
    dropSpare: dropSpare(text),
    adoptRecord: adoptRecord(text, { owner: text, namespace: text, name: text, epoch: 1 }),
    checkOwner: checkOwner(text, text),
    closeToPublic: statements.closeToPublic(names),
    createRoles: statements.createRoles(names, []),
    grantLogin: statements.grantLogin(names),
    setVerifier: statements.setVerifier(names, text),
    prepareSpare: statements.prepareSpare(names, [], text),
    revokeLogin: statements.revokeLogin(text),
    dropLogins: statements.dropLogins(names),
    endConnections: statements.endConnections(text),
    migrateDatabase: statements.migrateDatabase(names, { ...migration, sql: 'GRANT :runtime, :tenants TO :rows' }),
    migrateTenant: statements.migrateTenant(text, place, migration),
    grantTenant: statements.grantTenant(names, text),
    reopenTenant: statements.reopenTenant(names, text, text),
    retainTenant: statements.retainTenant(names, text, text),
    dropTenant: statements.dropTenant(text, text, text),
    migrateRows: rows.migrateRows(names, migration),
    createRowTenant: rows.createRowTenant(names, tenant),
    grantRows: rows.grantRows(names),
    dropRowTenant: rows.dropRowTenant(text),
    dropTemplate: databases.dropTemplate(names),
    createTemplate: databases.createTemplate(names),
    markTemplate: databases.markTemplate(names, text),
    fillTemplate: databases.fillTemplate(names, []),
    announceDatabase: databases.announceDatabase(tenant, place),
    copyTemplate: databases.copyTemplate(names, place),
    closeDatabase: databases.closeDatabase(place),
    fillDatabase: databases.fillDatabase(tenant, place, names, [migration]),
    openDatabaseTo: databases.openDatabaseTo(place, { login: text, verifier: text, limits }, text, 1, [migration]),
    letIn: databases.letIn(place, { login: text, verifier: text, limits }),
    limitLogin: databases.limitLogin(place, text, limits),
    retainDatabase: databases.retainDatabase(text, text, { login: text, spare: text }),
    dropDatabase: databases.dropDatabase(place),
    repairWall: repairWall(place, text, true),
    tryAll: tryAll(place, [text], {
      attempts: [{ name: text, kind: 'rows', by: 'role', sql: `PERFORM ${escapeLiteral(text)}` }],
      entries: [{ whose: text, table: escapeIdentifier(text), insert: text, role: text, uid: text, isShared: true }],
    }),
    forgetDatabase: databases.forgetDatabase(text, { login: text, spare: text }),
  })
}

const TOKEN = /"((?:[^"]|"")+)"|E'((?:[^'\\]|''|\\.)*)'|'((?:[^']|'')*)'|\$(\w*)\$([\s\S]*?)\$\4\$|\w+|\s+|[^\w\s]/gy

/** Reads SQL as Postgres does: names and values without their quotes, all else as it stands. */
function read(sql: string): string[] {
  return [...sql.matchAll(TOKEN)].flatMap(([whole, identifier, escaped, literal, , body]) => {
    if (identifier !== undefined) return [`name ${identifier.replaceAll('""', '"')}`]
    if (escaped !== undefined) return [`value ${escaped.replaceAll("''", "'").replaceAll(/\\(.)/g, '$1')}`]
    if (literal !== undefined) return [`value ${literal.replaceAll("''", "'")}`]
    if (body !== undefined) return ['block', ...read(body)]
    return whole.trim() === '' ? [] : [whole]
  })
}

/** What Postgres would read if the plain text of a statement were exchanged for another, and nothing else. */
function exchange(token: string, plain: string, other: string): string {
  if (token === `value ${escapeIdentifier(plain)}`) return `value ${escapeIdentifier(other)}`
  return token === `name ${plain}` || token === `value ${plain}` ? `${token.split(' ')[0]} ${other}` : token
}

const nasty = fc.oneof(
  fc.string({ minLength: 1, maxLength: 63, unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        '"',
        "'",
        '\\',
        '$$',
        '$q0$',
        '$tenantry$',
        ';',
        '--',
        '/*',
        '*/',
        ' ',
        '\n',
        ':role',
        '$1',
        '%s',
        '%I',
        'É',
        'x',
        'DROP',
      ),
      {
        minLength: 1,
        maxLength: 12,
      },
    )
    .map((parts) => parts.join('')),
)
const name = nasty.filter((text) => !text.includes('\0') && text.isWellFormed() && Buffer.byteLength(text) <= 63)

describe('PG-13: names and values stay names and values', () => {
  const PLAIN = 'plain0name'
  test.each(builders(PLAIN))('PG-13: %s', (builder, plainly) => {
    const expected = read(plainly)
    fc.assert(
      fc.property(name, (text) => {
        const sql = new Map(builders(text)).get(builder) ?? ''
        expect(read(sql)).toEqual(expected.map((token) => exchange(token, PLAIN, text)))
      }),
      { numRuns: 400 },
    )
  })

  test('PG-13: physical names are made of the UID alone, plain, and short enough', () => {
    fc.assert(
      fc.property(
        fc.uuid(),
        fc.stringMatching(/^[a-z_][a-z0-9_]{0,49}$/),
        fc.constantFrom('row', 'schema', 'database'),
        (uid, database, isolation) => {
          const names = shardNames(database)
          for (const one of [...Object.values(names), ...Object.values(physicalNames(isolation, names, uid))]) {
            expect(one).toMatch(/^[a-z_][a-z0-9_]{0,62}$/)
          }
          expect(tenantName(uid)).toBe(tenantName(uid.toUpperCase()))
        },
      ),
    )
  })
})
