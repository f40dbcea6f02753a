import { escapeIdentifier as name, escapeLiteral as text } from 'pg'
import type { Physical } from './names.ts'
import { block } from './statements.ts'

/**
 * Takes away what gives others a way in, or the tenant's role too much: rights on its schema, memberships, attributes, policies that were
 * added. Each for itself: what this login may not take away is left, and found again. Views and functions stay: they are somebody's work.
 */
export function repairWall({ schema, role }: Physical, member: string, shared: boolean): string {
  return block(
    `FOR action IN
    SELECT format('REVOKE ALL ON SCHEMA %I FROM %s', n.nspname, coalesce(quote_ident(other.rolname), 'PUBLIC'))
      FROM pg_namespace n, LATERAL aclexplode(n.nspacl) x LEFT JOIN pg_roles other ON other.oid = x.grantee
     WHERE n.nspname = ${text(schema)} AND (x.grantee = 0 OR other.rolname NOT IN (${text(role)}, current_user))
    UNION
    SELECT format('REVOKE ALL ON %s %s FROM %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, coalesce(quote_ident(other.rolname), 'PUBLIC'))
      FROM pg_class c, LATERAL aclexplode(c.relacl) x LEFT JOIN pg_roles other ON other.oid = x.grantee
     WHERE c.relnamespace = to_regnamespace(${text(name(schema))}) AND (x.grantee = 0 OR other.rolname NOT IN (${text(role)}, current_user))
    UNION
    SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I REVOKE ALL ON %s FROM %s', pg_get_userbyid(a.defaclrole), n.nspname,
                  CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END, coalesce(quote_ident(other.rolname), 'PUBLIC'))
      FROM pg_namespace n JOIN pg_default_acl a ON a.defaclnamespace = n.oid, LATERAL aclexplode(a.defaclacl) x LEFT JOIN pg_roles other ON other.oid = x.grantee
     WHERE n.nspname = ${text(schema)} AND (x.grantee = 0 OR other.rolname NOT IN (${text(role)}, current_user))
    UNION
    SELECT format('REVOKE %I FROM %I', me.rolname, member.rolname)
      FROM pg_roles me JOIN pg_auth_members m ON m.roleid = me.oid JOIN pg_roles member ON member.oid = m.member
     WHERE me.rolname = ${text(role)} AND member.rolname NOT IN (${text(member)}, current_user)
    UNION
    SELECT format('ALTER ROLE %I NOCREATEROLE NOCREATEDB', me.rolname) FROM pg_roles me WHERE me.rolname IN (${text(role)}, ${text(member)}) AND (me.rolcreaterole OR me.rolcreatedb)
    UNION
    SELECT format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass)
      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
     WHERE ${shared} AND c.relnamespace = to_regnamespace(${text(name(schema))}) AND p.polname <> 'tenant'
  LOOP
    BEGIN EXECUTE action; EXCEPTION WHEN OTHERS THEN NULL; END;
  END LOOP;`,
    'action text;',
  )
}
