import type { ShardReason } from '../../crds/shard.ts'
import { anothers, templateMark } from '../postgres/names.ts'
import type { ShardWorld } from './observe.ts'

/** One thing to do on a Shard; steps are taken in the order of the plan. */
export type ShardStep =
  | { kind: 'create-database' }
  | { kind: 'mark' }
  | { kind: 'issue-credentials'; password: 'new' | 'same' }
  | { kind: 'create-roles' }
  | { kind: 'close-to-public' }
  | { kind: 'grant-login' }
  | { kind: 'set-verifier' }
  | { kind: 'migrate'; from: number }
  | { kind: 'migrate-rows'; from: number }
  | { kind: 'secure-rows' }
  | { kind: 'make-neighbours' }
  | { kind: 'make-template'; mark: string }

/** What a pass will do, or why it will not touch the server. `again`: there is more to see once it is done. */
export type ShardPlan = { kind: 'refuse'; reason: ShardReason; message: string } | { kind: 'set-up'; steps: ShardStep[]; again: boolean }

type Refusal = Extract<ShardPlan, { kind: 'refuse' }>

const OLDEST = 160_000

/** The last migration of a Shard's database, and of a tenant's tables. */
export type Latest = { database: number; tenant: number }

/** Works out what is missing on a Shard, whose migrations end with `latest`. */
export function planShard(world: ShardWorld, latest: Latest): ShardPlan {
  const refusal = CHECKS.map((check) => check(world)).find((found) => found !== undefined)
  if (refusal !== undefined) return refusal
  if (world.database === undefined) return { kind: 'set-up', steps: [{ kind: 'create-database' }], again: true }
  return { kind: 'set-up', steps: missingSteps(world, world.database, latest), again: false }
}

function missingSteps(
  { names, mark, access, credentials, loginWorks, isolations }: ShardWorld,
  facts: NonNullable<ShardWorld['database']>,
  latest: Latest,
): ShardStep[] {
  const template = templateMark(mark, latest.database)
  const current = credentials?.username === names.login
  const steps: [boolean, ShardStep][] = [
    [facts.mark !== mark, { kind: 'mark' }],
    [!current, { kind: 'issue-credentials', password: 'new' }],
    [current && credentials.ca !== access.ca, { kind: 'issue-credentials', password: 'same' }],
    [[names.runtime, names.tenants, names.rows, names.login].some((role) => !facts.roles.includes(role)), { kind: 'create-roles' }],
    [facts.openToPublic, { kind: 'close-to-public' }],
    [!facts.granted, { kind: 'grant-login' }],
    [!loginWorks || !current, { kind: 'set-verifier' }],
    [facts.version < latest.database, { kind: 'migrate', from: facts.version }],
    [facts.rowsVersion < latest.tenant, { kind: 'migrate-rows', from: facts.rowsVersion }],
    [!facts.rowsSecure, { kind: 'secure-rows' }],
    [facts.neighboursVersion < latest.tenant, { kind: 'make-neighbours' }],
    [isolations.includes('database') && facts.templateMark !== template, { kind: 'make-template', mark: template }],
  ]
  return steps.flatMap(([needed, step]) => (needed ? [step] : []))
}

const CHECKS: readonly ((world: ShardWorld) => Refusal | undefined)[] = [
  ({ server }) =>
    server.version < OLDEST
      ? refuse('VersionUnsupported', `The server is Postgres ${server.versionText}: upgrade it to 16 or later.`)
      : undefined,
  ({ server }) =>
    server.superuser
      ? refuse('AdminIsSuperuser', `${server.login} is a superuser: put a login with CREATEROLE and CREATEDB only into the Secret.`)
      : undefined,
  ({ server }) =>
    server.createRole && server.createDatabase
      ? undefined
      : refuse('AdminRightsMissing', `Run on the server: ALTER ROLE "${server.login}" CREATEROLE CREATEDB.`),
  // Before it is asked who owns it: what is another's is not to be taken over.
  ({ database, mark, formerMark, names }) =>
    database?.mark !== undefined && database.mark !== mark && database.mark !== formerMark
      ? refuse('NameConflict', anothers(names.database, database.mark, mark))
      : undefined,
  ({ server, database, names }) =>
    database !== undefined && !database.owned
      ? refuse(
          'NameConflict',
          `The database ${names.database} belongs to another login: run ALTER DATABASE ${names.database} OWNER TO "${server.login}", or name another database.`,
        )
      : undefined,
  ({ database, isolations, names, ...marks }) =>
    database !== undefined && isolations.includes('database') && !isOwnTemplate(database, marks)
      ? refuse(
          'NameConflict',
          `The database ${names.template} exists and is no template of this Shard${database.templateMark === undefined ? '' : `, but belongs to "${database.templateMark}"`}: name another in spec.endpoint.database, or take database out of spec.isolations.`,
        )
      : undefined,
  ({ database }) =>
    database !== undefined && database.foreignRoles.length > 0
      ? refuse(
          'NameConflict',
          `These roles belong to somebody else: ${database.foreignRoles.join(', ')}. Name another database in spec.endpoint.database.`,
        )
      : undefined,
]

// A template is dropped when its migrations are old: nothing else may ever be taken for one.
function isOwnTemplate(
  { templateMark: found, templateForeign }: NonNullable<ShardWorld['database']>,
  { mark, formerMark }: Pick<ShardWorld, 'mark' | 'formerMark'>,
): boolean {
  return !templateForeign && (found === undefined || [mark, formerMark].some((own) => found.startsWith(`${own}, template `)))
}

function refuse(reason: ShardReason, message: string): Refusal {
  return { kind: 'refuse', reason, message }
}
