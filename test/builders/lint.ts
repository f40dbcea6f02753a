import type { Client } from 'pg'
import type { ShardNames } from '../../operator/postgres/names.ts'

const SETTING = "current_setting('app.tenant_id'::text, true)"

/** Each rule finds what breaks it among the tables of schema $1, as text for people. */
const SHARED_RULES: Readonly<Record<string, string>> = {
  'is not behind forced row-level security': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)`,
  'has no policy for all commands and roles with USING and WITH CHECK by the tenant': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
      SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
         AND pg_get_expr(p.polqual, c.oid) LIKE '%tenant_id = ( SELECT%${SETTING.replaceAll("'", "''")}%'
         AND pg_get_expr(p.polwithcheck, c.oid) = pg_get_expr(p.polqual, c.oid))`,
  'has more than one policy, which would let in what either lets in': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) > 1`,
  'has no tenant_id that is a uuid and NOT NULL': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND NOT EXISTS (
      SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnotnull AND a.atttypid = 'uuid'::regtype)`,
  'is an index, unique ones included, that does not begin with tenant_id': `
    SELECT x.indexrelid::regclass::text FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
     WHERE c.relnamespace = $1::regnamespace AND NOT EXISTS (
       SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum = x.indkey[0])`,
  'is an exclusion or foreign key without tenant_id': `
    SELECT k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
     WHERE c.relnamespace = $1::regnamespace AND k.contype IN ('x', 'f') AND NOT EXISTS (
       SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum = ANY (k.conkey))`,
  'is a sequence, which tells each tenant how much the others do': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'S'`,
}

/** Of whatever stands in a schema: nothing may look past the policies of who asks. */
const VIEW_RULES: Readonly<Record<string, string>> = {
  'is a view that looks with the eyes of its owner': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)`,
  'is a materialized view, which knows no policy': `
    SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'm'`,
  'is a SECURITY DEFINER function whose search_path is not pinned, pg_temp last': `
    SELECT p.proname FROM pg_proc p WHERE p.pronamespace = $1::regnamespace AND p.prosecdef
       AND NOT coalesce((SELECT bool_or(s ~ '^search_path=(.*, *)?pg_temp$') FROM unnest(p.proconfig) s), false)`,
}

/** What is wrong with the tables that tenants share, in `schema`. */
export async function lintShared(client: Client, schema: string): Promise<string[]> {
  return apply(client, { ...SHARED_RULES, ...VIEW_RULES }, schema)
}

/** What looks past the policies in a schema. */
export async function lintViews(client: Client, schema: string): Promise<string[]> {
  return apply(client, VIEW_RULES, schema)
}

async function apply(client: Client, rules: Readonly<Record<string, string>>, schema: string): Promise<string[]> {
  const findings: string[] = []
  for (const [rule, text] of Object.entries(rules)) {
    const { rows } = await client.query({ text, values: [schema], rowMode: 'array' })
    for (const [found] of rows) findings.push(`${schema}: ${found} ${rule}`)
  }
  return findings
}

/** What is wrong with the roles of a Shard and its tenants, as far as the connected database tells. */
export async function lintRoles(client: Client, { runtime, tenants, rows, login }: ShardNames, own: readonly string[]): Promise<string[]> {
  const roles = [runtime, tenants, rows, login, ...own]
  const { rows: found } = await client.query<{ finding: string }>(
    `SELECT r.rolname || ' is more than a plain role' AS finding FROM pg_roles r
      WHERE r.rolname = ANY ($1) AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication)
     UNION ALL
     SELECT r.rolname || ' owns something' FROM pg_roles r JOIN pg_shdepend d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'
      WHERE r.rolname = ANY ($1)
     UNION ALL
     SELECT r.rolname || ' is a member of ' || g.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
      WHERE r.rolname = ANY ($1) AND r.rolname NOT IN ($2, $3) AND g.rolname <> $4
     UNION ALL
     SELECT r.rolname || ' may give a role away' FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = ANY ($1) AND m.admin_option
     UNION ALL
     SELECT 'there is no role ' || name FROM unnest($1::text[]) name WHERE to_regrole(quote_ident(name)) IS NULL`,
    [roles, runtime, login, tenants],
  )
  return found.map(({ finding }) => finding)
}
