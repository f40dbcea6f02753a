import type { Database } from './connect.ts'
import type { ShardNames } from './names.ts'

type Reader = Pick<Database, 'query'>

/** What the server says of itself and of the admin login. */
export type ServerFacts = {
  version: number
  versionText: string
  login: string
  superuser: boolean
  createRole: boolean
  createDatabase: boolean
}

/** What stands in a Shard's database. `mark` is the comment on it: whose it is. */
export type DatabaseFacts = {
  owned: boolean
  mark: string | undefined
  /** PUBLIC may connect, make temporary tables, use schema public or run new functions. */
  openToPublic: boolean
  /** Which of the Shard's roles exist, and which of those the admin login may not grant: they are somebody else's. */
  roles: readonly string[]
  foreignRoles: readonly string[]
  /** The runtime's login may connect through its group, and has its limits. */
  granted: boolean
  /** The login that the runtime does not use, or no longer: whether it is let in, and how many connections it still has. */
  spare: { canLogin: boolean; connections: number }
  version: number
}

/** What stands in the database of one tenant. */
export type TenantFacts = {
  record: { namespace: string; name: string; schema: string; role: string; epoch: number; retained: boolean } | undefined
  schemaExists: boolean
  roleExists: boolean
  /** The runtime may take the role, and the role may use its schema. */
  granted: boolean
  version: number
}

/** Reads what the server and the admin login are. */
export async function readServer(database: Reader): Promise<ServerFacts> {
  const [row] = await database.query<ServerFacts>(
    `SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS "versionText",
            current_user::text AS login, rolsuper AS superuser, rolcreaterole AS "createRole", rolcreatedb AS "createDatabase"
       FROM pg_catalog.pg_roles WHERE rolname = current_user`,
  )
  if (row === undefined) throw new Error('the server does not know its own user')
  return row
}

type DatabaseRow = Omit<DatabaseFacts, 'version' | 'mark' | 'spare'> & DatabaseFacts['spare'] & { mark: string | null; migrated: boolean }

/** Reads what is set up of a Shard's database; `database` must be connected to it. */
export async function readDatabase(database: Reader, names: ShardNames): Promise<DatabaseFacts> {
  const [row] = await database.query<DatabaseRow>(DATABASE_FACTS, [names.runtime, names.tenants, names.login, names.spare])
  if (row === undefined) throw new Error('the database does not know itself')
  const { migrated, mark, canLogin, connections, ...facts } = row
  const version = migrated ? await readDatabaseVersion(database) : 0
  return { ...facts, mark: mark ?? undefined, spare: { canLogin, connections }, version }
}

async function readDatabaseVersion(database: Reader): Promise<number> {
  const [row] = await database.query<{ version: number }>('SELECT coalesce(max(version), 0) AS version FROM tenantry.database_migrations')
  return row?.version ?? 0
}

const DATABASE_FACTS = `
  SELECT pg_catalog.pg_get_userbyid(d.datdba) = current_user AS owned,
         pg_catalog.shobj_description(d.oid, 'pg_database') AS mark,
         pg_catalog.has_database_privilege('public', d.oid, 'CONNECT')
           OR pg_catalog.has_database_privilege('public', d.oid, 'TEMPORARY')
           OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
                         AND (pg_catalog.has_schema_privilege('public', n.oid, 'USAGE') OR pg_catalog.has_schema_privilege('public', n.oid, 'CREATE')))
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_default_acl a WHERE a.defaclrole = me.oid AND a.defaclnamespace = 0 AND a.defaclobjtype = 'f'
                             AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0)) AS "openToPublic",
         ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname IN ($1, $2, $3, $4)) AS roles,
         ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname IN ($1, $2, $3, $4)
                  AND (r.rolsuper OR NOT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION'))) AS "foreignRoles",
         coalesce((SELECT pg_catalog.has_database_privilege(g.oid, d.oid, 'CONNECT') AND pg_catalog.pg_has_role(l.oid, g.oid, 'USAGE')
                          AND l.rolcanlogin AND l.rolconfig IS NOT NULL
                     FROM pg_catalog.pg_roles g, pg_catalog.pg_roles l WHERE g.rolname = $1 AND l.rolname = $3), false) AS granted,
         coalesce((SELECT s.rolcanlogin FROM pg_catalog.pg_roles s WHERE s.rolname = $4), false) AS "canLogin",
         (SELECT count(*)::int FROM pg_catalog.pg_stat_activity a WHERE a.usename = $4) AS connections,
         pg_catalog.to_regclass('tenantry.database_migrations') IS NOT NULL AS migrated
    FROM pg_catalog.pg_database d, pg_catalog.pg_roles me
   WHERE d.datname = current_database() AND me.rolname = current_user`

type TenantRow = Omit<TenantFacts, 'record'> & {
  namespace: string | null
  name: string | null
  schema: string | null
  role: string | null
  epoch: number | null
  retained: boolean
}

/** Reads what there is of a tenant, by its UID and by the names it would have. One round trip. */
export async function readTenant(database: Reader, uid: string, name: string, runtime: string): Promise<TenantFacts> {
  const [row] = await database.query<TenantRow>(TENANT_FACTS, [uid, name, runtime])
  if (row === undefined) throw new Error('the database gave no row')
  const { schemaExists, roleExists, granted, version } = row
  return { record: recordOf(row), schemaExists, roleExists, granted, version }
}

function recordOf({ namespace, name, schema, role, epoch, retained }: TenantRow): TenantFacts['record'] {
  if (namespace === null || name === null || schema === null || role === null || epoch === null) return undefined
  return { namespace, name, schema, role, epoch, retained }
}

const TENANT_FACTS = `
  SELECT t.namespace, t.name, t.schema_name::text AS schema, t.role_name::text AS role, t.epoch, t.retained_at IS NOT NULL AS retained,
         n.oid IS NOT NULL AS "schemaExists", r.oid IS NOT NULL AS "roleExists",
         coalesce(pg_catalog.pg_has_role(g.oid, r.oid, 'SET') AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'), false) AS granted,
         (SELECT coalesce(max(m.version), 0) FROM tenantry.migrations m WHERE m.tenant = $1::uuid) AS version
    FROM (VALUES (1)) one
    LEFT JOIN tenantry.tenants t ON t.uid = $1::uuid
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = coalesce(t.schema_name, $2::name)
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = coalesce(t.role_name, $2::name)
    LEFT JOIN pg_catalog.pg_roles g ON g.rolname = $3::name`
