import { randomUUID } from 'node:crypto'
import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Database } from './connect.ts'
import { latest, type Migration } from './migrations.ts'
import { type ShardNames, tenantName } from './names.ts'
import { block, exists, grantTenant, lockTenant, migrateSchema, type TenantIdentity } from './statements.ts'

/** A schema that stands ready for a tenant to come. `whole`: it and its role are there. */
export type Spare = { name: string; version: number; whole: boolean }

/** Reads what stands ready. */
export function readSpares(database: Pick<Database, 'query'>): Promise<Spare[]> {
  return database.query<Spare>(`SELECT s.name::text AS name, s.version, ${WHOLE} AS whole FROM tenantry.spares s ORDER BY s.name`)
}

const WHOLE = `(EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = s.name) AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = s.name))`

/** Makes one more schema with its role, all migrations and all grants: it stands whole or not at all. */
export function createSpare(names: ShardNames, migrations: readonly Migration[]): string {
  const spare = `spare_${randomUUID().replaceAll('-', '')}`
  return `INSERT INTO tenantry.spares (name, version) VALUES (${text(spare)}, ${latest(migrations)});
${createSchema(names, spare, migrations)}`
}

/** Removes one, unless a tenant has taken it meanwhile. */
export function dropSpare(spare: string): string {
  return block(`DELETE FROM tenantry.spares WHERE name = ${text(spare)};
  IF NOT FOUND THEN RETURN; END IF;
  DROP SCHEMA IF EXISTS ${name(spare)} CASCADE;
  IF ${exists(spare)} THEN
    GRANT ${name(spare)} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
    DROP OWNED BY ${name(spare)} CASCADE;
    DROP ROLE ${name(spare)};
  END IF;`)
}

/**
 * Makes everything a new tenant has, out of a spare that is up to date where there is one: it is renamed, which takes no time, and what
 * refers to it goes on to do so. So no migration may leave the schema's name in a text, such as the body of a function.
 */
export function provideTenant(names: ShardNames, tenant: TenantIdentity, migrations: readonly Migration[]): string {
  const { uid, installation, namespace, name: id, epoch } = tenant
  const physical = tenantName(uid)
  const marks = migrations.map(({ version, name: title }) => `(${text(uid)}, ${version}, ${text(title)})`)
  return `${lockTenant(uid)}
INSERT INTO tenantry.tenants (uid, installation, namespace, name, isolation, schema_name, role_name, epoch)
VALUES (${text(uid)}, ${text(installation)}, ${text(namespace)}, ${text(id)}, 'schema', ${text(physical)}, ${text(physical)}, ${epoch});
INSERT INTO tenantry.head (tenant, role, epoch) VALUES (${text(uid)}, ${text(physical)}, ${epoch});
INSERT INTO tenantry.relayed (tenant, role) VALUES (${text(uid)}, ${text(physical)});
INSERT INTO tenantry.migrations (tenant, version, name) VALUES ${marks.join(', ')};
${takeSpare(physical, latest(migrations), createSchema(names, physical, migrations))}`
}

function takeSpare(physical: string, version: number, otherwise: string): string {
  return block(
    `DELETE FROM tenantry.spares WHERE name = (
    SELECT s.name FROM tenantry.spares s WHERE s.version = ${version} AND ${WHOLE} LIMIT 1 FOR UPDATE OF s SKIP LOCKED
  ) RETURNING name INTO spare;
  IF spare IS NULL THEN
    EXECUTE ${text(otherwise)};
  ELSE
    EXECUTE format('ALTER ROLE %I RENAME TO %I', spare, ${text(physical)});
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', spare, ${text(physical)});
  END IF;`,
    'spare name;',
  )
}

// The grants last: they lock the group of all tenants until the commit, and others that are being made wait for that.
function createSchema(names: ShardNames, physical: string, migrations: readonly Migration[]): string {
  return [
    `CREATE ROLE ${name(physical)} NOLOGIN;`,
    `CREATE SCHEMA ${name(physical)};`,
    ...migrations.map((migration) => migrateSchema(physical, physical, migration)),
    grantTenant(names, physical),
  ].join('\n')
}
