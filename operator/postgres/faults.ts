import type { TenantReason } from '../../crds/tenant.ts'
import type { Database } from './connect.ts'
import type { Physical } from './names.ts'

/** A hole in a tenant's wall that the catalog shows. */
export type Fault = { reason: TenantReason; what: string }

/**
 * Reads from the catalog of the database that holds the tenant's tables what would let others in, or the tenant out: attributes and
 * memberships of its role, rights of others on its schema, row-level security that is off, and objects that run as their owner. `member` is the one that
 * may act as the role: the runtime, or the tenant's other login.
 */
export async function readFaults(
  database: Pick<Database, 'query'>,
  { schema, role }: Physical,
  member: string,
  shared: boolean,
): Promise<Fault[]> {
  return database.query<Fault>(FAULTS, [schema, role, member, shared])
}

// What stands in the schema is found by its dependency on it, which has an index: pg_class and pg_proc have none by schema, and reading
// them through made the look slower with each tenant on the Shard.
const FAULTS = `
  WITH me AS (SELECT r.oid, r.rolname, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication FROM pg_catalog.pg_roles r WHERE r.rolname = $2),
       actor AS (SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname = $3 AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)),
       place AS (SELECT n.oid, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n WHERE n.nspname = $1),
       inside AS (SELECT d.classid, d.objid FROM place JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = place.oid),
       tables AS (SELECT c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity, c.reloptions
                    FROM inside JOIN pg_catalog.pg_class c ON c.oid = inside.objid
                   WHERE inside.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')),
       rights AS (SELECT 'schema' AS what, x.grantee FROM place, LATERAL pg_catalog.aclexplode(place.nspacl) x
                  UNION SELECT tables.relname::text, x.grantee FROM tables, LATERAL pg_catalog.aclexplode(tables.relacl) x
                  UNION SELECT 'what will be made in the schema', x.grantee FROM place JOIN pg_catalog.pg_default_acl a ON a.defaclnamespace = place.oid,
                    LATERAL pg_catalog.aclexplode(a.defaclacl) x)
  SELECT 'RoleTooPowerful' AS reason, me.rolname || ' has an attribute that no tenant may have' AS what
    FROM me WHERE me.rolsuper OR me.rolbypassrls OR me.rolcreaterole OR me.rolcreatedb OR me.rolreplication
  UNION ALL
  SELECT 'RoleTooPowerful', actor.rolname || ' acts as a tenant and has an attribute that it may not have' FROM actor
  UNION ALL
  SELECT 'RoleTooPowerful', me.rolname || ' owns ' || tables.relname FROM me JOIN tables ON tables.relowner = me.oid
  UNION ALL
  SELECT 'ForeignAccess', pg_catalog.pg_get_userbyid(m.member) || ' may act as ' || me.rolname
    FROM me JOIN pg_catalog.pg_auth_members m ON m.roleid = me.oid WHERE pg_catalog.pg_get_userbyid(m.member) NOT IN ($3, current_user)
  UNION ALL
  SELECT 'ForeignAccess', CASE rights.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.pg_get_userbyid(rights.grantee) END || ' has rights on ' || rights.what
    FROM rights WHERE rights.grantee = 0 OR pg_catalog.pg_get_userbyid(rights.grantee) NOT IN ($2, current_user)
  UNION ALL
  SELECT 'RowSecurityOff', 'row-level security of ' || tables.relname || ' is off or not forced'
    FROM tables WHERE $4::boolean AND tables.relkind IN ('r', 'p') AND NOT (tables.relrowsecurity AND tables.relforcerowsecurity)
  UNION ALL
  SELECT 'RowSecurityOff', 'policy ' || p.polname || ' of ' || tables.relname || ' was added'
    FROM tables JOIN pg_catalog.pg_policy p ON p.polrelid = tables.oid WHERE $4::boolean AND p.polname <> 'tenant'
  UNION ALL
  SELECT 'UnsafeObject', CASE tables.relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || tables.relname || ' reads as its owner'
    FROM tables WHERE tables.relkind = 'm' OR (tables.relkind = 'v' AND NOT coalesce(tables.reloptions @> '{security_invoker=true}' OR tables.reloptions @> '{security_invoker=on}', false))
  UNION ALL
  SELECT 'UnsafeObject', 'function ' || f.proname || ' runs as its owner'
    FROM inside JOIN pg_catalog.pg_proc f ON f.oid = inside.objid
   WHERE inside.classid = 'pg_catalog.pg_proc'::regclass AND f.prosecdef`
