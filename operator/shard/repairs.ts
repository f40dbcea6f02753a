import { CREDENTIALS_SECRET } from '../../config/routing.ts'
import { UNFINISHED } from '../postgres/databases.ts'
import { ADMIN_LOGINS } from './admin-login.ts'
import type { ShardWorld } from './observe.ts'
import type { ShardStep } from './plan.ts'

/** Something that was changed by hand on a Shard, and has been put right. */
export type Repair = { reason: 'DriftRepaired' | 'RowSecurityRestored'; message: string }

/** The copy of what the Shard is reached with was gone. */
export const ADMIN_LOGIN_LOST: Repair = {
  reason: 'DriftRepaired',
  message: `The admin login was gone from the Secret ${ADMIN_LOGINS}, where it is kept for the end of a namespace, and was put back.`,
}

type Kind = ShardStep['kind']

const REPAIRS: Partial<Record<Kind, string>> = {
  'create-database': 'The database was gone, and was made anew, without tenants.',
  mark: 'The comment on the database, which says whose it is, was gone, and was put back.',
  'create-roles': 'A role of the Shard was gone, and was made anew.',
  'issue-credentials': `The login of the runtime was gone from the Secret ${CREDENTIALS_SECRET}: it has a new password.`,
  'close-to-public': 'PUBLIC had rights on the database, or on what will be made in it, which were taken away.',
  'grant-login': "The runtime's login had lost its right to connect or its times, and has them again.",
  'set-verifier': `The runtime's login had another password than the Secret ${CREDENTIALS_SECRET} says, and has that again.`,
  'make-neighbours': 'A synthetic neighbour was gone, and was made anew.',
  'make-template': "The template of tenants' databases was gone, and was made anew.",
}

/** What else is set right on the way, and is told with what it follows from. */
const FOLLOWS: Partial<Record<Kind, readonly Kind[]>> = {
  'create-roles': ['grant-login', 'set-verifier', 'secure-rows', 'issue-credentials'],
  'issue-credentials': ['set-verifier'],
}

const SECURED =
  'What keeps the tenants of the shared tables apart, or lets the runtime in, was changed, and was put back: row-level security, its policy, or the role.'

/** What a step of a pass has put right on a Shard that was set up before; undefined: it is none, as those that come with an upgrade. */
export function repairOf({ database }: ShardWorld, steps: readonly ShardStep[], step: ShardStep): Repair | undefined {
  // In a database that is made anew all is missing.
  if (database !== undefined && (database.version === 0 || !isLost(database, step))) return undefined
  if (steps.some(({ kind }) => FOLLOWS[kind]?.includes(step.kind))) return undefined
  if (step.kind === 'secure-rows') return { reason: 'RowSecurityRestored', message: SECURED }
  const message = REPAIRS[step.kind]
  return message === undefined ? undefined : { reason: 'DriftRepaired', message }
}

/** Not so of what is only old, or is as its Secret now says. */
function isLost({ mark, neighboursVersion, templateMark }: NonNullable<ShardWorld['database']>, step: ShardStep): boolean {
  if (step.kind === 'mark') return mark === undefined
  if (step.kind === 'make-neighbours') return neighboursVersion === 0
  // One that a pass has begun and not finished was gone before that pass, which could not tell of it.
  if (step.kind === 'make-template') return templateMark === undefined || templateMark.endsWith(UNFINISHED)
  return step.kind !== 'issue-credentials' || step.password === 'new'
}
