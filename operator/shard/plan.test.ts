import { expect, test } from 'vitest'
import { anothers, shardNames } from '../postgres/names.ts'
import type { ShardWorld } from './observe.ts'
import { planShard } from './plan.ts'

const names = shardNames('tenantry')
const server = { version: 180_004, versionText: '18.4', login: 'admin', superuser: false, createRole: true, createDatabase: true }
const roles = [names.runtime, names.tenants, names.login, names.rows]
const database = {
  owned: true,
  mark: 'mine',
  openToPublic: false,
  roles,
  foreignRoles: [],
  granted: true,
  spare: { canLogin: false, connections: 0 },
  used: 1,
  usedByOne: 1,
  version: 1,
  rowsVersion: 2,
  rowsSecure: true,
  neighboursVersion: 2,
  templateMark: 'mine, template 1',
  templateForeign: false,
}
const latest = { database: 1, tenant: 2 }
const access = { host: 'db', port: 5432, database: 'tenantry', tls: 'disable' as const, username: 'admin', password: 'x' }
const credentials = { username: names.login, password: 'secret' }
const world = (changes: Partial<ShardWorld> = {}): ShardWorld => ({
  access,
  names,
  mark: 'mine',
  formerMark: 'mine before',
  server,
  database,
  credentials,
  loginWorks: true,
  isolations: ['row', 'schema', 'database'],
  ...changes,
})

const cases: [string, ShardWorld, string[] | string][] = [
  ['nothing when all stands', world(), []],
  ['the database first', world({ database: undefined }), ['create-database']],
  [
    'everything in a new database, the Secret before the roles',
    world({
      database: {
        ...database,
        mark: undefined,
        openToPublic: true,
        roles: [],
        granted: false,
        version: 0,
        rowsVersion: 0,
        rowsSecure: false,
        neighboursVersion: 0,
        templateMark: undefined,
      },
      credentials: undefined,
      loginWorks: false,
    }),
    [
      'mark',
      'issue-credentials',
      'create-roles',
      'close-to-public',
      'grant-login',
      'set-verifier',
      'migrate',
      'migrate-rows',
      'secure-rows',
      'make-neighbours',
      'make-template',
    ],
  ],
  ['the verifier again after a crash behind the Secret', world({ loginWorks: false }), ['set-verifier']],
  ['a new password when the Secret is lost', world({ credentials: undefined, loginWorks: false }), ['issue-credentials', 'set-verifier']],
  ['the Secret alone when the CA changes', world({ access: { ...access, ca: 'new' } }), ['issue-credentials']],
  ['what was opened to PUBLIC', world({ database: { ...database, openToPublic: true } }), ['close-to-public']],
  ['row-level security of a shared table', world({ database: { ...database, rowsSecure: false } }), ['secure-rows']],
  ['neighbours of older migrations', world({ database: { ...database, neighboursVersion: 1 } }), ['make-neighbours']],
  ['a template of older migrations', world({ database: { ...database, templateMark: 'mine, template 0' } }), ['make-template']],
  ['no template where no database is wanted', world({ isolations: ['row'], database: { ...database, templateMark: undefined } }), []],
  ['refuses an old server', world({ server: { ...server, version: 150_009 } }), 'VersionUnsupported'],
  ['refuses a superuser', world({ server: { ...server, superuser: true } }), 'AdminIsSuperuser'],
  ['refuses a login that may not make roles', world({ server: { ...server, createRole: false } }), 'AdminRightsMissing'],
  ['refuses a database of another login', world({ database: { ...database, owned: false } }), 'NameConflict'],
  ['refuses a database of another Shard', world({ database: { ...database, mark: 'theirs' } }), 'NameConflict'],
  ['marks anew what was marked before installations were told apart', world({ database: { ...database, mark: 'mine before' } }), ['mark']],
  [
    'makes a template anew that is marked as before installations were told apart',
    world({ database: { ...database, templateMark: 'mine before, template 1' } }),
    ['make-template'],
  ],
  ['refuses to take a Shard for its template', world({ database: { ...database, templateMark: 'theirs' } }), 'NameConflict'],
  [
    'refuses to take any database for its template',
    world({ database: { ...database, templateMark: undefined, templateForeign: true } }),
    'NameConflict',
  ],
  ['refuses roles of somebody else', world({ database: { ...database, foreignRoles: [names.runtime] } }), 'NameConflict'],
]

test('OP-19: of a database that is another Shard’s it is said whose it is, and never how to take it over', () => {
  const plan = planShard(world({ database: { ...database, owned: false, mark: 'theirs' } }), latest)
  expect(plan).toEqual({ kind: 'refuse', reason: 'NameConflict', message: anothers(names.database, 'theirs', 'mine') })
})

test.each(cases)('plans: %s', (_, found, expected) => {
  const plan = planShard(found, latest)
  expect(plan.kind === 'refuse' ? plan.reason : plan.steps.map(({ kind }) => kind)).toEqual(expected)
})
