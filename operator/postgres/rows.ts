import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import { fill, type Migration } from './migrations.ts'
import { ROWS_SCHEMA, type ShardNames } from './names.ts'
import { lockTenant, type TenantIdentity, waitShortly } from './statements.ts'

// The measured form: the setting is read once for a statement, and reads '' after a COMMIT.
const RULE = `tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)`

/** One migration of the shared tables. Of two that start at once, the second waits, finds the version taken and is rolled back. */
export function migrateRows({ rows }: ShardNames, { version, name: title, sql }: Migration): string {
  return `SELECT pg_advisory_xact_lock(hashtextextended('tenantry rows', 0));
${waitShortly()}
SET LOCAL search_path TO ${ROWS_SCHEMA};
${fill(sql, { role: rows, schema: ROWS_SCHEMA })}
SET LOCAL search_path TO '';
${secureTables()}
INSERT INTO tenantry.row_migrations (version, name) VALUES (${version}, ${text(title)});`
}

/**
 * In SQL, true of a shared table `c` that lets anybody past: row-level security off or not forced, or anything but one policy for all commands
 * and roles that goes by the tenant. Policies add up, so that a second one opens what the first closes. The expression is not compared word
 * for word, since each Postgres prints it its own way.
 */
export const OPEN_TABLE = `NOT (c.relrowsecurity AND c.relforcerowsecurity
  AND (SELECT count(*) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid) = 1
  AND EXISTS (SELECT FROM pg_catalog.pg_policy p, pg_catalog.pg_get_expr(p.polqual, c.oid) printed
               WHERE p.polrelid = c.oid AND p.polname = 'tenant' AND p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
                 AND printed LIKE '%tenant_id = %app.tenant_id%' AND printed !~* '\\mor\\M' AND pg_catalog.pg_get_expr(p.polwithcheck, c.oid) = printed))`

/**
 * Puts every shared table behind row-level security, its owner too, and puts back what of it is missing or was changed. The policy is one for
 * all commands: rows of the tenant that the transaction names, and none where it names none.
 */
export function secureTables(): string {
  return `DO $$ DECLARE shared record; other name; rule text := ${text(RULE)}; BEGIN
  FOR shared IN SELECT c.oid, c.oid::regclass AS name FROM pg_catalog.pg_class c
                WHERE c.relnamespace = '${ROWS_SCHEMA}'::regnamespace AND c.relkind IN ('r', 'p') AND ${OPEN_TABLE} LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', shared.name);
    FOR other IN SELECT polname FROM pg_catalog.pg_policy WHERE polrelid = shared.oid LOOP
      EXECUTE format('DROP POLICY %I ON %s', other, shared.name);
    END LOOP;
    EXECUTE format('CREATE POLICY tenant ON %s USING (%s) WITH CHECK (%s)', shared.name, rule, rule);
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
SET CONSTRAINTS ALL DEFERRED;
DO $$ DECLARE shared regclass; remaining bigint; BEGIN
  FOR shared IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = '${ROWS_SCHEMA}'::regnamespace AND c.relkind IN ('r', 'p') LOOP
    EXECUTE format('DELETE FROM %s WHERE tenant_id = %L', shared, current_setting('app.tenant_id'));
    EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = %L', shared, current_setting('app.tenant_id')) INTO remaining;
    IF remaining > 0 THEN RAISE EXCEPTION '% rows are left in %', remaining, shared; END IF;
  END LOOP;
END $$;
DELETE FROM tenantry.tenants WHERE uid = ${text(uid)};`
}
