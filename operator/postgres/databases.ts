import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { LoginLimits } from './login.ts'
import type { Migration } from './migrations.ts'
import { OWN_SCHEMA, type OwnLogins, type Physical, type ShardNames } from './names.ts'
import {
  applyMigration,
  block,
  closeToPublic,
  exists,
  lockTenant,
  migrateDatabase,
  retainRecord,
  revokeLogin,
  setLimits,
  type TenantIdentity,
} from './statements.ts'

/** Ends a template; it is made anew, never changed. */
export function dropTemplate({ template }: ShardNames): string {
  return `DROP DATABASE IF EXISTS ${name(template)} WITH (FORCE)`
}

/** Makes the database of a template, empty and closed: one without a mark that is open was not made here. */
export function createTemplate({ template }: ShardNames): string {
  return `CREATE DATABASE ${name(template)} ENCODING 'UTF8' TEMPLATE template0 ALLOW_CONNECTIONS false`
}

/** How the mark of a template ends that is not complete. */
export const UNFINISHED = ' unfinished'

/** Opens a template to be filled, with a mark that says whose it is and not that it is complete. */
export function beginTemplate(names: ShardNames, mark: string): string {
  return `${markTemplate(names, `${mark}${UNFINISHED}`)}
ALTER DATABASE ${name(names.template)} ALLOW_CONNECTIONS true;`
}

/** Marks a template as complete. */
export function markTemplate({ template }: ShardNames, mark: string): string {
  return `COMMENT ON DATABASE ${name(template)} IS ${text(mark)};`
}

/** What a template holds: all that a Shard's database holds but tenants, and an empty schema for one. */
export function fillTemplate(names: ShardNames, migrations: readonly Migration[]): string {
  const own = { ...names, database: names.template }
  return [closeToPublic(own), ...migrations.map((migration) => migrateDatabase(own, migration)), `CREATE SCHEMA ${name(OWN_SCHEMA)};`].join(
    '\n',
  )
}

/** Records, before anything is made, that a database is to be; makes the login, which may not log in yet. Does nothing the second time. */
export function announceDatabase(
  { uid, installation, namespace, name: id, epoch }: TenantIdentity,
  { database, schema, role }: Physical,
): string {
  return `${lockTenant(uid)}
INSERT INTO tenantry.tenants (uid, installation, namespace, name, isolation, database_name, schema_name, role_name, epoch, made_at)
VALUES (${text(uid)}, ${text(installation)}, ${text(namespace)}, ${text(id)}, 'database', ${text(database)}, ${text(schema)}, ${text(role)}, ${epoch}, NULL)
ON CONFLICT (uid) DO NOTHING;
${block(`IF NOT (${exists(role)}) THEN CREATE ROLE ${name(role)} NOLOGIN; END IF;`)}`
}

/** Copies the template, which no transaction can hold. Nobody can connect until it is closed to PUBLIC. */
export function copyTemplate({ template }: ShardNames, { database }: Physical): string {
  return `CREATE DATABASE ${name(database)} TEMPLATE ${name(template)} ALLOW_CONNECTIONS false`
}

/** Closes a new database to everybody and opens it to its owner. */
export function closeDatabase({ database }: Physical): string {
  return `REVOKE ALL ON DATABASE ${name(database)} FROM PUBLIC;
ALTER DATABASE ${name(database)} ALLOW_CONNECTIONS true;`
}

/** Inside the tenant's own database: its record, its head, its tables. Stands whole or not at all. */
export function fillDatabase(
  { uid, installation, namespace, name: id, epoch }: TenantIdentity,
  { database, schema, role }: Physical,
  { tenants }: ShardNames,
  migrations: readonly Migration[],
): string {
  return [
    `INSERT INTO tenantry.tenants (uid, installation, namespace, name, isolation, database_name, schema_name, role_name, epoch)
VALUES (${text(uid)}, ${text(installation)}, ${text(namespace)}, ${text(id)}, 'database', ${text(database)}, ${text(schema)}, ${text(role)}, ${epoch});`,
    `INSERT INTO tenantry.head (tenant, role, epoch) VALUES (${text(uid)}, ${text(role)}, ${epoch});`,
    `INSERT INTO tenantry.relayed (tenant, role) VALUES (${text(uid)}, ${text(role)});`,
    ...migrations.map((migration) => applyMigration(uid, schema, role, migration)),
    `GRANT USAGE ON SCHEMA ${name(schema)} TO ${name(role)};`,
    `GRANT ${name(tenants)} TO ${name(role)};`,
  ].join('\n')
}

/** How a login is let in: its password as a verifier, and its limits. */
export type Entry = { login: string; verifier: string; limits: LoginLimits }

/** Holds a login of a tenant's database to its limits, and has the one that is not the role act as it from its first statement on. */
export function limitLogin({ database, role }: Physical, login: string, limits: LoginLimits): string {
  const acting = `ALTER ROLE ${name(login)} SET role = ${name(role)};
ALTER ROLE ${name(login)} IN DATABASE ${name(database)} RESET role;`
  return `${login === role ? '' : acting}
ALTER ROLE ${name(login)} CONNECTION LIMIT ${limits.connections};
${setLimits(database, login, limits)}`
}

/** Makes one of a tenant's logins valid: the role itself, or one that acts as it from its first statement on. */
export function letIn(physical: Physical, { login, verifier, limits }: Entry): string {
  const { database, role } = physical
  const acting = `GRANT ${name(role)} TO ${name(login)} WITH INHERIT FALSE, SET TRUE;`
  return `${block(`IF NOT (${exists(login)}) THEN CREATE ROLE ${name(login)} NOLOGIN; END IF;`)}
${login === role ? '' : acting}
ALTER ROLE ${name(login)} LOGIN PASSWORD ${text(verifier)};
GRANT CONNECT ON DATABASE ${name(database)} TO ${name(login)};
${limitLogin(physical, login, limits)}`
}

/** Lets the login in, and notes in the Shard's database what the tenant's own now holds. */
export function openDatabaseTo(
  physical: Physical,
  entry: Entry,
  uid: string,
  baseVersion: number,
  migrations: readonly Migration[],
): string {
  const noted = migrations.map(({ version, name: title }) => `(${text(uid)}, ${version}, ${text(title)})`)
  return `${letIn(physical, entry)}
INSERT INTO tenantry.migrations (tenant, version, name) VALUES ${noted.join(', ')} ON CONFLICT DO NOTHING;
UPDATE tenantry.tenants SET made_at = coalesce(made_at, now()), retained_at = NULL, base_version = ${baseVersion} WHERE uid = ${text(uid)};`
}

/** Keeps a database and shuts its logins out, connections that are open included. */
export function retainDatabase(uid: string, database: string, { login, spare }: OwnLogins): string {
  return [retainRecord(uid), shutOut(database, login), shutOut(database, spare)].join('\n')
}

function shutOut(database: string, login: string): string {
  return `${block(`IF ${exists(login)} THEN
  ${revokeLogin(login)}
  GRANT ${name(login)} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
  IF EXISTS (SELECT FROM pg_database WHERE datname = ${text(database)}) THEN REVOKE CONNECT ON DATABASE ${name(database)} FROM ${name(login)}; END IF;
END IF;`)}
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${text(login)};`
}

/** Ends a tenant's database, which no transaction can hold. */
export function dropDatabase({ database }: Physical): string {
  return `DROP DATABASE IF EXISTS ${name(database)} WITH (FORCE)`
}

/** Removes what is left of a tenant whose database is gone. */
export function forgetDatabase(uid: string, { login, spare }: OwnLogins): string {
  const drop = (one: string) => block(`IF ${exists(one)} THEN DROP OWNED BY ${name(one)} CASCADE; DROP ROLE ${name(one)}; END IF;`)
  return `${drop(spare)}
${drop(login)}
DELETE FROM tenantry.tenants WHERE uid = ${text(uid)};`
}
