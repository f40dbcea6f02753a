import { inject } from 'vitest'
import { tenantName } from '../../operator/postgres/names.ts'
import { connectAsSuperuser } from './provision.ts'

const acl = (column: string) => `(SELECT array_agg(item::text ORDER BY item::text) FROM unnest(${column}) item)`
const IN_SCHEMAS = `relnamespace::regnamespace::text IN ($1::text, 'tenant', 'tenantry', 'tenantry_rows')`

// Everything but times, object ids and passwords.
const PARTS = {
  role: `SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
      rolpassword IS NOT NULL AS has_password, (SELECT array_agg(c ORDER BY c) FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE s.setrole = a.oid) AS settings
    FROM pg_authid a WHERE rolname = $1::text`,
  member: `SELECT roleid::regrole, member::regrole, grantor::regrole, admin_option, inherit_option, set_option
    FROM pg_auth_members WHERE to_regrole($1::text) IN (roleid, member)`,
  database: `SELECT datname, datdba::regrole, datallowconn, datconnlimit, ${acl('datacl')} AS acl, shobj_description(oid, 'pg_database') AS mark
    FROM pg_database WHERE datname = $1::text`,
  schema: `SELECT nspname, nspowner::regrole, ${acl('nspacl')} AS acl FROM pg_namespace WHERE nspname IN ($1::text, 'tenant', 'tenantry', 'tenantry_rows')`,
  relation: `SELECT oid::regclass, relkind, relowner::regrole, relrowsecurity, relforcerowsecurity, ${acl('relacl')} AS acl, reloptions,
      CASE relkind WHEN 'i' THEN pg_get_indexdef(oid) END AS index FROM pg_class WHERE ${IN_SCHEMAS}`,
  column: `SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod) AS type, attnotnull, ${acl('attacl')} AS acl
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE attnum > 0 AND NOT attisdropped AND ${IN_SCHEMAS}`,
  constraint: `SELECT conrelid::regclass, conname, pg_get_constraintdef(c.oid) AS text FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid WHERE ${IN_SCHEMAS}`,
  policy: `SELECT schemaname, tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies WHERE schemaname IN ($1::text, 'tenant', 'tenantry', 'tenantry_rows')`,
  function: `SELECT oid::regprocedure, proowner::regrole, prosecdef, ${acl('proacl')} AS acl FROM pg_proc
    WHERE pronamespace::regnamespace::text IN ($1::text, 'tenant', 'tenantry', 'tenantry_rows')`,
  default: `SELECT defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, ${acl('defaclacl')} AS acl FROM pg_default_acl`,
  record: `SELECT to_jsonb(t) - '{created_at,made_at,retained_at}'::text[] AS record, made_at IS NOT NULL AS made, retained_at IS NOT NULL AS retained
    FROM tenantry.tenants t WHERE uid::text = $2::text`,
  head: 'SELECT * FROM tenantry.head WHERE tenant::text = $2::text',
  relayed: `SELECT to_jsonb(r) - 'relayed_at' FROM tenantry.relayed r WHERE tenant::text = $2::text`,
  migration: 'SELECT version, name FROM tenantry.migrations WHERE tenant::text = $2::text',
}

const DUMP = `${Object.entries(PARTS)
  .map(([what, query]) => `SELECT '${what} ' || to_jsonb(found)::text AS line FROM (${query}) found`)
  .join('\nUNION ALL ')} ORDER BY line`

/** All that the catalog says of a tenant, in the Shard's database and in its own: two tenants of one kind differ in nothing. */
export async function dumpCatalog(shardDatabase: string, tenant: { uid: string; name: string }): Promise<string[]> {
  const own = tenantName(tenant.uid)
  const lines = await dumpOne(shardDatabase, own, tenant.uid)
  const inside = lines.some((line) => line.startsWith('database ')) ? await dumpOne(own, own, tenant.uid) : []
  return [...lines, ...inside].map((line) =>
    line.replaceAll(own, '<own>').replaceAll(tenant.uid, '<uid>').replaceAll(`"${tenant.name}"`, '<name>'),
  )
}

async function dumpOne(database: string, own: string, uid: string): Promise<string[]> {
  const client = await connectAsSuperuser(inject('postgres'), database)
  try {
    return (await client.query<{ line: string }>(DUMP, [own, uid])).rows.map(({ line }) => line)
  } finally {
    await client.end()
  }
}
