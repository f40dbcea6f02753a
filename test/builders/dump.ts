import type { Client } from 'pg'

/**
 * What stands in a Shard's database and who may do what: its schemas, tables, policies and functions, its own and its tenants' roles with
 * settings and memberships, and all rights; a line each, in order. Passwords and rows of tenants are not in it.
 */
export async function dumpCatalog(admin: Pick<Client, 'query'>): Promise<string[]> {
  const { rows } = await admin.query<{ line: string }>(CATALOG)
  return rows.map(({ line }) => line)
}

// Roles are the server's: those of other databases, and of other tests, are left out.
const CATALOG = `WITH own AS (
  SELECT r.* FROM pg_roles r WHERE starts_with(r.rolname, current_database() || '_')
     OR r.rolname IN (SELECT role_name FROM tenantry.tenants UNION SELECT name FROM tenantry.spares)
) SELECT line FROM (
  SELECT format('database %s owner %s acl %s', datname, datdba::regrole, datacl) FROM pg_database WHERE datname = current_database()
  UNION ALL SELECT format('role %s %s', rolname, to_jsonb(own) - 'oid' - 'rolname') FROM own
  UNION ALL SELECT format('member %s of %s inherit %s set %s admin %s', member::regrole, roleid::regrole, inherit_option, set_option, admin_option)
    FROM pg_auth_members WHERE member IN (SELECT oid FROM own) OR roleid IN (SELECT oid FROM own)
  UNION ALL SELECT format('schema %s owner %s acl %s', nspname, nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
  UNION ALL SELECT format('relation %s %s owner %s acl %s rls %s %s', oid::regclass, relkind, relowner::regrole, relacl, relrowsecurity, relforcerowsecurity)
    FROM pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
  UNION ALL SELECT format('policy %s on %s %s %s', polname, polrelid::regclass, pg_get_expr(polqual, polrelid), polroles::regrole[]) FROM pg_policy
  UNION ALL SELECT format('function %s owner %s', oid::regprocedure, proowner::regrole) FROM pg_proc
    WHERE pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
) AS all_of (line) ORDER BY line`
