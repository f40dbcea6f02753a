import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Limits } from '../../config/routing.ts'
import { loginSettings, SHARED_LIMITS } from './login.ts'
import { fill, type Migration } from './migrations.ts'
import { type Physical, type ShardNames, tenantName } from './names.ts'

/** A tenant as the database records it, and which installation of the operator has it. */
export type TenantIdentity = { uid: string; installation: string; namespace: string; name: string; epoch: number }

/** Makes the database, which no transaction can hold. */
export function createDatabase({ database }: ShardNames): string {
  return `CREATE DATABASE ${name(database)} ENCODING 'UTF8' TEMPLATE template0`
}

/** Marks a database as that of one Shard. Of two that find it without a mark and mark it at once, the second fails. */
export function markDatabase({ database }: ShardNames, mark: string, before: string | undefined): string {
  const found = `shobj_description((SELECT oid FROM pg_database WHERE datname = current_database()), 'pg_database')`
  return `SELECT pg_advisory_xact_lock(hashtextextended('tenantry database', 0));
${block(`IF ${found} IS DISTINCT FROM ${before === undefined ? 'NULL' : text(before)} THEN
  RAISE 'the database has been marked by another' USING ERRCODE = 'object_in_use';
END IF;`)}
COMMENT ON DATABASE ${name(database)} IS ${text(mark)};`
}

/** Takes from PUBLIC what a new database gives it. */
export function closeToPublic({ database }: ShardNames): string {
  return `REVOKE CONNECT, TEMPORARY ON DATABASE ${name(database)} FROM PUBLIC;
${block(`IF to_regnamespace('public') IS NOT NULL THEN REVOKE ALL ON SCHEMA public FROM PUBLIC; END IF;`)}
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;`
}

/** Makes the roles of a Shard that are not there yet. */
export function createRoles({ runtime, tenants, rows, login }: ShardNames, existing: readonly string[]): string {
  const missing = [runtime, tenants, rows].filter((role) => !existing.includes(role)).map((role) => `CREATE ROLE ${name(role)} NOLOGIN;`)
  return [...missing, ...(existing.includes(login) ? [] : [`CREATE ROLE ${name(login)} LOGIN;`])].join('\n')
}

/** Lets the runtime's login in, through its group, with limits. */
export function grantLogin({ database, runtime, login }: ShardNames): string {
  return [
    `GRANT CONNECT ON DATABASE ${name(database)} TO ${name(runtime)};`,
    `GRANT ${name(runtime)} TO ${name(login)} WITH INHERIT TRUE, SET TRUE;`,
    `ALTER ROLE ${name(login)} LOGIN;`,
    setLimits(database, login, SHARED_LIMITS),
  ].join('\n')
}

/** Puts the settings of a login in place, also against others for this one database. Connections that stand keep those they began with. */
export function setLimits(database: string, login: string, limits: Limits): string {
  return loginSettings(limits)
    .map(
      ([setting, value]) => `ALTER ROLE ${name(login)} SET ${setting} = ${text(value)};
ALTER ROLE ${name(login)} IN DATABASE ${name(database)} RESET ${setting};`,
    )
    .join('\n')
}

/** Sets the password of the runtime's login, as a verifier: the clear text is not in it. */
export function setVerifier({ login }: ShardNames, verifier: string): string {
  return `ALTER ROLE ${name(login)} PASSWORD ${text(verifier)};`
}

/** Makes the other login valid, with this verifier and all that the one in use has; whatever was there of it is replaced. */
export function prepareSpare(names: ShardNames, existing: readonly string[], verifier: string): string {
  const spare = { ...names, login: names.spare }
  return [createRoles(spare, existing), grantLogin(spare), setVerifier(spare, verifier)].join('\n')
}

/** Lets a login in no more. Connections it has stay open. */
export function revokeLogin(login: string): string {
  return `ALTER ROLE ${name(login)} NOLOGIN PASSWORD NULL;`
}

/** Ends the connections of a login; only who has its rights may, so they are taken for as long as that. */
export function endConnections(login: string): string {
  return `GRANT ${name(login)} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${text(login)};
REVOKE ${name(login)} FROM CURRENT_USER GRANTED BY CURRENT_USER;`
}

/** Lets neither of the runtime's logins in any more, and removes each that owns nothing. */
export function dropLogins({ login, spare }: ShardNames): string {
  const drop = (one: string) => `${revokeLogin(one)}
  BEGIN DROP ROLE ${name(one)}; EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END;`
  return [login, spare].map((one) => block(`IF ${exists(one)} THEN ${drop(one)} END IF;`)).join('\n')
}

/** One migration of a Shard's database. Of two that start at once, the second waits, finds the version taken and is rolled back. */
export function migrateDatabase({ runtime, tenants, rows }: ShardNames, { version, name: title, sql }: Migration): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended('tenantry database', 0));
${fill(sql, { runtime, tenants, rows })}
INSERT INTO tenantry.database_migrations (version, name) VALUES (${version}, ${text(title)});`
}

/** Makes everything a new tenant has, with all migrations: it stands whole or not at all. */
export function createTenant(names: ShardNames, tenant: TenantIdentity, migrations: readonly Migration[]): string {
  const { uid, installation, namespace, name: id, epoch } = tenant
  const physical = tenantName(uid)
  return [
    lockTenant(uid),
    `INSERT INTO tenantry.tenants (uid, installation, namespace, name, isolation, schema_name, role_name, epoch)
VALUES (${text(uid)}, ${text(installation)}, ${text(namespace)}, ${text(id)}, 'schema', ${text(physical)}, ${text(physical)}, ${epoch});`,
    `CREATE ROLE ${name(physical)} NOLOGIN;`,
    `CREATE SCHEMA ${name(physical)};`,
    `INSERT INTO tenantry.head (tenant, role, epoch) VALUES (${text(uid)}, ${text(physical)}, ${epoch});`,
    `INSERT INTO tenantry.relayed (tenant, role) VALUES (${text(uid)}, ${text(physical)});`,
    ...migrations.map((migration) => applyMigration(uid, physical, physical, migration)),
    // Last: it locks the group of all tenants until the commit, and others that are being made wait for that.
    grantTenant(names, physical),
  ].join('\n')
}

/** One migration of a tenant that exists, guarded like those of the database. */
export function migrateTenant(uid: string, { schema, role }: Physical, migration: Migration): string {
  return `${lockTenant(uid)}\n${waitShortly()}\n${applyMigration(uid, schema, role, migration)}`
}

/** Gives up on a table that somebody else uses: behind a statement that waits for it, every request to it would wait too. */
export function waitShortly(): string {
  return `SET LOCAL lock_timeout TO '1s';`
}

/** Lets the runtime take the tenant's role, and the role into its schema. */
export function grantTenant({ runtime, tenants }: ShardNames, physical: string): string {
  return `GRANT ${name(tenants)} TO ${name(physical)};
GRANT ${name(physical)} TO ${name(runtime)} WITH INHERIT FALSE, SET TRUE;
GRANT USAGE ON SCHEMA ${name(physical)} TO ${name(physical)};`
}

/** Serves a tenant again whose data had been kept. */
export function reopenTenant(names: ShardNames, uid: string, physical: string): string {
  return `${grantTenant(names, physical)}
${reopenRecord(uid)}`
}

/** Notes that a tenant's data is in use again. */
export function reopenRecord(uid: string): string {
  return `UPDATE tenantry.tenants SET retained_at = NULL WHERE uid = ${text(uid)};`
}

/** Notes that a tenant's data is only kept. */
export function retainRecord(uid: string): string {
  return `${lockTenant(uid)}
UPDATE tenantry.tenants SET retained_at = coalesce(retained_at, now()) WHERE uid = ${text(uid)};`
}

/** Keeps a tenant's data and locks the runtime out of it. */
export function retainTenant({ runtime }: ShardNames, uid: string, physical: string): string {
  return `${retainRecord(uid)}
${block(`IF ${exists(physical)} THEN REVOKE ${name(physical)} FROM ${name(runtime)}; END IF;`)}`
}

/** Removes everything of a tenant. The role must be taken before what it was granted can be dropped (Postgres 16 and later). */
export function dropTenant(uid: string, schema: string, role: string): string {
  return `${lockTenant(uid)}
DROP SCHEMA IF EXISTS ${name(schema)} CASCADE;
${block(`IF ${exists(role)} THEN
  GRANT ${name(role)} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
  DROP OWNED BY ${name(role)} CASCADE;
  DROP ROLE ${name(role)};
END IF;`)}
DELETE FROM tenantry.tenants WHERE uid = ${text(uid)};`
}

/** Statements that decide as they go. The quote around them is one that they do not hold themselves: a name may hold any. */
export function block(body: string, declarations = ''): string {
  let quote = '$$'
  for (let number = 0; body.includes(quote); number++) quote = `$q${number}$`
  return `DO ${quote} ${declarations === '' ? '' : `DECLARE ${declarations} `}BEGIN ${body} END ${quote};`
}

/** In SQL, true when there is a role of that name. `to_regrole` reads it as SQL does: without quotes it would not find upper case. */
export function exists(role: string): string {
  return `to_regrole(${text(name(role))}) IS NOT NULL`
}

/** Lets nobody else make, change or end this tenant until the transaction is over. */
export function lockTenant(uid: string): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended(${text(uid)}, 0));`
}

/** One migration of tables of one tenant alone. */
export function migrateSchema(schema: string, role: string, { sql }: Migration): string {
  return `SET LOCAL search_path TO ${name(schema)};
${fill(sql, { role, schema })}
SET LOCAL search_path TO '';`
}

/** One migration of a tenant's own tables, and its mark. */
export function applyMigration(uid: string, schema: string, role: string, migration: Migration): string {
  const { version, name: title } = migration
  return `${migrateSchema(schema, role, migration)}
INSERT INTO tenantry.migrations (tenant, version, name) VALUES (${text(uid)}, ${version}, ${text(title)});`
}
