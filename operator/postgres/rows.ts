import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import { fill, type Migration } from './migrations.ts'
import { ROWS_SCHEMA, type ShardNames } from './names.ts'
import { lockTenant, type TenantIdentity } from './statements.ts'

// The measured form: the setting is read once for a statement, and reads '' after a COMMIT.
const RULE = `tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)`

/** One migration of the shared tables. Of two that start at once, the second waits, finds the version taken and is rolled back. */
export function migrateRows({ rows }: ShardNames, { version, name: title, sql }: Migration): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended('tenantry rows', 0));
SET LOCAL search_path TO ${ROWS_SCHEMA};
${fill(sql, { role: rows, schema: ROWS_SCHEMA })}
SET LOCAL search_path TO '';
${secureTables()}
INSERT INTO tenantry.row_migrations (version, name) VALUES (${version}, ${text(title)});`
}

/**
 * Puts every shared table behind row-level security, its owner too, and puts back what of it is missing. The policy is one for all commands:
 * rows of the tenant that the transaction names, and none where it names none.
 */
export function secureTables(): string {
  return `DO $$ DECLARE shared record; rule text := ${text(RULE)}; BEGIN
  FOR shared IN SELECT c.oid::regclass AS name, EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'tenant') AS ruled
                FROM pg_class c WHERE c.relnamespace = '${ROWS_SCHEMA}'::regnamespace AND c.relkind IN ('r', 'p') LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', shared.name);
    IF NOT shared.ruled THEN
      EXECUTE format('CREATE POLICY tenant ON %s USING (%s) WITH CHECK (%s)', shared.name, rule, rule);
    END IF;
  END LOOP;
END $$;`
}

/** Makes all that a tenant of the shared tables has: its record, its head, its mark of what is relayed. */
export function createRowTenant({ rows }: ShardNames, { uid, installation, namespace, name: id, epoch }: TenantIdentity): string {
  return `WITH known AS (
  INSERT INTO tenantry.tenants (uid, installation, namespace, name, isolation, schema_name, role_name, epoch)
  VALUES (${text(uid)}, ${text(installation)}, ${text(namespace)}, ${text(id)}, 'row', ${text(ROWS_SCHEMA)}, ${text(rows)}, ${epoch}) RETURNING uid, role_name, epoch
), headed AS (
  INSERT INTO tenantry.head (tenant, role, epoch) SELECT uid, role_name, epoch FROM known
) INSERT INTO tenantry.relayed (tenant, role) SELECT uid, role_name FROM known;`
}

/** Lets the runtime take the role of the shared tables, and the role into them. */
export function grantRows({ runtime, rows }: ShardNames): string {
  return `GRANT ${name(rows)} TO ${name(runtime)} WITH INHERIT FALSE, SET TRUE;
GRANT USAGE ON SCHEMA tenantry, ${ROWS_SCHEMA} TO ${name(rows)};`
}

/** Removes every row of a tenant, from whatever shared tables there are. */
export function dropRowTenant(uid: string): string {
  return `${lockTenant(uid)}
SELECT set_config('app.tenant_id', ${text(uid)}, true);
DO $$ DECLARE shared regclass; BEGIN
  FOR shared IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = '${ROWS_SCHEMA}'::regnamespace AND c.relkind IN ('r', 'p') LOOP
    EXECUTE format('DELETE FROM %s WHERE tenant_id = %L', shared, ${text(uid)});
  END LOOP;
END $$;
DELETE FROM tenantry.tenants WHERE uid = ${text(uid)};`
}
