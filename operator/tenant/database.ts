import { randomBytes } from 'node:crypto'
import type { Credentials } from '../../config/routing.ts'
import { readOwnDatabase } from '../postgres/catalog.ts'
import type { Database } from '../postgres/connect.ts'
import {
  announceDatabase,
  closeDatabase,
  copyTemplate,
  dropDatabase,
  fillDatabase,
  forgetDatabase,
  openDatabaseTo,
  retainDatabase,
} from '../postgres/databases.ts'
import { openLogins, sharedBy } from '../postgres/login.ts'
import { latest } from '../postgres/migrations.ts'
import { ownLogins } from '../postgres/names.ts'
import { raiseEpoch } from '../postgres/owners.ts'
import { scramVerifier } from '../postgres/scram.ts'
import { migrateDatabase, migrateTenant } from '../postgres/statements.ts'
import { readLogin, writeLogin } from '../routing/credentials.ts'
import { REGAINED } from './repairs.ts'
import { adoption, epochOf, runAsOwner, type Target } from './target.ts'

type Connection = Pick<Database, 'query' | 'run'>

/**
 * Makes a tenant's database and login, or whatever is missing of them: no transaction can hold it all, so that each step may be taken again.
 * The record comes first, the right to connect last. What takes long has connections of its own and keeps nobody from theirs.
 */
export async function makeDatabase(target: Target): Promise<void> {
  const { identity, physical, names, facts, limits, database, shard, tools } = target
  await database.run(announceDatabase(identity, physical))
  if (!facts.placeExists) await tools.connections.apart(shard, names.database, (apart) => apart.run(copyTemplate(names, physical)))
  await database.run(closeDatabase(physical))
  await tools.connections.apart(shard, physical.database, (own) => fill(own, target))
  const { username, password } = await loginOf(target)
  const { migrations } = tools
  const share = sharedBy(openLogins(facts.logins).length, limits)
  const entry = { login: username, verifier: await scramVerifier(password), limits: share }
  await database.run(openDatabaseTo(physical, entry, identity.uid, latest(migrations.database), migrations.tenant))
}

/** Gives the kept database to this Tenant. The head first: after a crash between the two it is done again, and raised no further. */
export async function adoptDatabase(target: Target): Promise<void> {
  const { identity, physical, facts, database, shard, tools } = target
  await tools.connections.apart(shard, physical.database, (own) => own.run(raiseEpoch(identity.uid, epochOf(facts))))
  await database.run(adoption(target))
  await makeDatabase(target)
}

/** Gives the runtime its way in again. That there is no login may be a late view of one that was just made: then nothing was lost. */
export async function regainDatabase(target: Target): Promise<void> {
  const isLost = !target.facts.granted || (await readLogin(placeOf(target), target.physical.role)) === undefined
  await makeDatabase(target)
  if (isLost) target.tell(REGAINED)
}

/** Keeps the database and takes the login away. */
export async function keepDatabase(target: Target): Promise<void> {
  await runAsOwner(target, retainDatabase(target.identity.uid, target.physical.database, ownLogins(target.physical.role)))
  await writeLogin(placeOf(target), target.physical.role, undefined)
}

/** Removes database and login. */
export async function removeDatabase(target: Target): Promise<void> {
  const { identity, physical, names, database, shard, tools } = target
  await keepDatabase(target)
  await tools.connections.apart(shard, names.database, (apart) => apart.run(dropDatabase(physical)))
  await database.run(forgetDatabase(identity.uid, ownLogins(physical.role)))
}

async function fill(own: Connection, { identity, physical, names, tools }: Target): Promise<void> {
  const { migrations } = tools
  const { filled, version, baseVersion } = await readOwnDatabase(own, identity.uid)
  for (const one of migrations.database) if (one.version > baseVersion) await own.run(migrateDatabase(names, one))
  if (!filled) return own.run(fillDatabase(identity, physical, names, migrations.tenant))
  for (const one of migrations.tenant) if (one.version > version) await own.run(migrateTenant(identity.uid, physical, one))
}

/** The Secret before the role: after a crash between the two, the next pass sets the verifier of what stands in the Secret. */
async function loginOf(target: Target): Promise<Credentials> {
  const { role } = target.physical
  const known = await readLogin(placeOf(target), role)
  if (known !== undefined) return known
  const made = { username: role, password: randomBytes(32).toString('base64url'), issuedAt: new Date().toISOString() }
  await writeLogin(placeOf(target), role, made)
  return made
}

function placeOf({ tools, identity, signal }: Target) {
  return { client: tools.client, namespace: identity.namespace, signal }
}
