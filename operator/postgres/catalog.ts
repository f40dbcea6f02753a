import type { Isolation } from '../../crds/tenant.ts'
import type { Database } from './connect.ts'
import { hasLoginSettings, type OwnLogin, SHARED_LIMITS } from './login.ts'
import { type Physical, physicalNames, ROWS_SCHEMA, type ShardNames } from './names.ts'
import { neighboursOf } from './neighbours.ts'
import { OPEN_TABLE } from './rows.ts'

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
  /** Connections of the platform to the server: the runtime's and the tenants' logins, and the admin login's to databases of the Shard. */
  used: number
  /** The most connections that any one replica of the runtime has there, to all databases together. */
  usedByOne: number
  version: number
  /** The last migration of the tables that tenants share. */
  rowsVersion: number
  /** The runtime may take the role of the shared tables, and each of those is behind forced row-level security and its one policy. */
  rowsSecure: boolean
  /** The last migration of the synthetic neighbours; 0 when one is missing. */
  neighboursVersion: number
  /** The mark on the template of tenants' databases; undefined: there is none. */
  templateMark: string | undefined
  /** A database has the template's name that was not made as one: it is of another owner, or open and without a mark. */
  templateForeign: boolean
}

/** Whose tenant it is and where it stands, as the Shard's database records it. */
export type TenantRecord = Physical & {
  /** Null in records older than installations: it is the one that the database is marked for. */
  installation: string | null
  /** The UID of the Tenant that has it, or had it when it was kept. */
  owner: string
  namespace: string
  name: string
  isolation: Isolation
  epoch: number
  retained: boolean
  /** False while a database is being made: what there is of it may be made again. */
  made: boolean
}

/** What there is of one tenant on its Shard. */
export type TenantFacts = {
  record: TenantRecord | undefined
  /** The schema of its tables, or its database, is there. */
  placeExists: boolean
  roleExists: boolean
  /** The runtime may take the role, and the role use the schema; or the login may connect to its database. */
  granted: boolean
  version: number
  /** Of a tenant's own database: the last migration of what surrounds its tables. */
  baseVersion: number
  /** The logins of a tenant's own database, those of the two that are there. */
  logins: readonly OwnLogin[]
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

/** Reads the comment on a database of the server, which says whose it is, also of one that is closed to this login. */
export async function readMark(database: Reader, name: string): Promise<string | undefined> {
  const [row] = await database.query<{ mark: string | null }>(
    `SELECT pg_catalog.shobj_description(d.oid, 'pg_database') AS mark FROM pg_catalog.pg_database d WHERE d.datname = $1`,
    [name],
  )
  return row?.mark ?? undefined
}

/** Reads what is set up of a Shard's database; `database` must be connected to it. */
export async function readDatabase(database: Reader, names: ShardNames): Promise<DatabaseFacts> {
  const roles = [names.runtime, names.tenants, names.login, names.rows]
  const [row] = await database.query<DatabaseRow>(DATABASE_FACTS, [...roles, names.template, names.spare])
  if (row === undefined) throw new Error('the database does not know itself')
  const { migrated, withRows, mark, templateMark, canLogin, connections, settings, ...facts } = row
  const version = migrated ? await highest(database, 'SELECT max(version) AS version FROM tenantry.database_migrations') : 0
  const rowsVersion = withRows ? await highest(database, 'SELECT max(version) AS version FROM tenantry.row_migrations') : 0
  const neighboursVersion = withRows ? await readNeighbours(database, names) : 0
  const spare = { canLogin, connections }
  const granted = facts.granted && hasLoginSettings(settings, SHARED_LIMITS)
  return {
    ...facts,
    granted,
    mark: mark ?? undefined,
    templateMark: templateMark ?? undefined,
    spare,
    version,
    rowsVersion,
    neighboursVersion,
  }
}

type DatabaseRow = Omit<DatabaseFacts, 'version' | 'rowsVersion' | 'neighboursVersion' | 'mark' | 'templateMark' | 'spare'> &
  DatabaseFacts['spare'] & {
    mark: string | null
    templateMark: string | null
    settings: string[]
    migrated: boolean
    withRows: boolean
  }

async function readNeighbours(database: Reader, names: ShardNames): Promise<number> {
  const { schema, row } = neighboursOf(names)
  const [found] = await database.query<{ version: number | null }>(
    `SELECT max(m.version) AS version FROM tenantry.migrations m
      WHERE m.tenant = $1::uuid AND EXISTS (SELECT FROM tenantry.tenants t WHERE t.uid = $2::uuid)`,
    [schema, row],
  )
  return found?.version ?? 0
}

async function highest(database: Reader, text: string): Promise<number> {
  const [row] = await database.query<{ version: number | null }>(text)
  return row?.version ?? 0
}

// Each has two, by turns. Whoever makes a role is a member of it: that does not make a tenant's login of the admin's.
const TENANT_LOGINS = `SELECT one.login FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles t ON t.oid = m.member,
    LATERAL (VALUES (t.rolname), ((t.rolname || '_b')::name)) one (login)
  WHERE g.rolname = $2 AND t.rolname <> current_user`

const DATABASE_FACTS = `
  SELECT pg_catalog.pg_get_userbyid(d.datdba) = current_user AS owned,
         pg_catalog.shobj_description(d.oid, 'pg_database') AS mark,
         pg_catalog.has_database_privilege('public', d.oid, 'CONNECT')
           OR pg_catalog.has_database_privilege('public', d.oid, 'TEMPORARY')
           OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'
                         AND (pg_catalog.has_schema_privilege('public', n.oid, 'USAGE') OR pg_catalog.has_schema_privilege('public', n.oid, 'CREATE')))
           OR NOT EXISTS (SELECT FROM pg_catalog.pg_default_acl a WHERE a.defaclrole = me.oid AND a.defaclnamespace = 0 AND a.defaclobjtype = 'f'
                             AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0)) AS "openToPublic",
         ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname IN ($1, $2, $3, $4, $6)) AS roles,
         ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname IN ($1, $2, $3, $4, $6)
                  AND (r.rolsuper OR NOT pg_catalog.pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION'))) AS "foreignRoles",
         coalesce((SELECT pg_catalog.has_database_privilege(g.oid, d.oid, 'CONNECT') AND pg_catalog.pg_has_role(l.oid, g.oid, 'USAGE')
                          AND l.rolcanlogin
                     FROM pg_catalog.pg_roles g, pg_catalog.pg_roles l WHERE g.rolname = $1 AND l.rolname = $3), false) AS granted,
         coalesce((SELECT l.rolconfig || ARRAY(SELECT pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = l.oid AND s.setdatabase = d.oid)
                     FROM pg_catalog.pg_roles l WHERE l.rolname = $3), '{}') AS settings,
         coalesce((SELECT s.rolcanlogin FROM pg_catalog.pg_roles s WHERE s.rolname = $6), false) AS "canLogin",
         (SELECT count(*)::int FROM pg_catalog.pg_stat_activity a WHERE a.usename = $6) AS connections,
         (SELECT count(*)::int FROM pg_catalog.pg_stat_activity a WHERE a.usename IN ($3, $6) OR a.usename IN (${TENANT_LOGINS})
             OR (a.usename = me.rolname AND (a.datname IN (d.datname, $5) OR a.datname IN (${TENANT_LOGINS})))) AS used,
         (SELECT coalesce(max(x.connections), 0)::int
            FROM (SELECT count(*) AS connections FROM pg_catalog.pg_stat_activity a
                   WHERE a.usename IN ($3, $6) OR a.usename IN (${TENANT_LOGINS}) GROUP BY a.application_name) x) AS "usedByOne",
         (SELECT pg_catalog.shobj_description(x.oid, 'pg_database') FROM pg_catalog.pg_database x WHERE x.datname = $5) AS "templateMark",
         EXISTS (SELECT FROM pg_catalog.pg_database x WHERE x.datname = $5 AND (x.datdba <> me.oid
                    OR (x.datallowconn AND pg_catalog.shobj_description(x.oid, 'pg_database') IS NULL))) AS "templateForeign",
         coalesce((SELECT pg_catalog.pg_has_role(g.oid, r.oid, 'SET') FROM pg_catalog.pg_roles g, pg_catalog.pg_roles r WHERE g.rolname = $1 AND r.rolname = $4), false)
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.to_regnamespace('${ROWS_SCHEMA}') AND c.relkind IN ('r', 'p')
                              AND ${OPEN_TABLE}) AS "rowsSecure",
         pg_catalog.to_regclass('tenantry.database_migrations') IS NOT NULL AS migrated,
         pg_catalog.to_regclass('tenantry.row_migrations') IS NOT NULL AS "withRows"
    FROM pg_catalog.pg_database d, pg_catalog.pg_roles me
   WHERE d.datname = current_database() AND me.rolname = current_user`

type TenantRow = Omit<TenantFacts, 'record'> & { record: TenantRecord | null }

/**
 * Reads what there is of a tenant, by its UID and by the names it would have; `login` is the one in use where it has two. One round trip.
 */
export async function readTenant(
  database: Reader,
  uid: string,
  isolation: Isolation,
  names: ShardNames,
  login?: string,
): Promise<TenantFacts> {
  const expected = physicalNames(isolation, names, uid)
  const values = [uid, expected.schema, expected.role, expected.database, names.runtime, isolation, login ?? null]
  const [row] = await database.query<TenantRow>(TENANT_FACTS, values)
  if (row === undefined) throw new Error('the database gave no row')
  return { ...row, record: row.record ?? undefined }
}

const TENANT_FACTS = `
  SELECT CASE WHEN t.uid IS NOT NULL THEN json_build_object(
           'installation', t.installation, 'owner', coalesce(t.owner, t.uid), 'namespace', t.namespace, 'name', t.name, 'isolation', t.isolation, 'database', t.database_name, 'schema', t.schema_name,
           'role', t.role_name, 'epoch', t.epoch, 'retained', t.retained_at IS NOT NULL, 'made', t.made_at IS NOT NULL) END AS record,
         CASE $6::text WHEN 'database' THEN d.oid IS NOT NULL ELSE n.oid IS NOT NULL END AS "placeExists",
         r.oid IS NOT NULL AS "roleExists",
         CASE $6::text WHEN 'database' THEN coalesce(l.rolcanlogin AND pg_catalog.has_database_privilege(l.oid, d.oid, 'CONNECT') AND pg_catalog.pg_has_role(l.oid, r.oid, 'SET'), false)
              ELSE coalesce(pg_catalog.pg_has_role(g.oid, r.oid, 'SET') AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'), false) END AS granted,
         CASE $6::text WHEN 'row' THEN (SELECT coalesce(max(m.version), 0) FROM tenantry.row_migrations m)
              ELSE (SELECT coalesce(max(m.version), 0) FROM tenantry.migrations m WHERE m.tenant = $1::uuid) END AS version,
         coalesce(t.base_version, 0) AS "baseVersion",
         coalesce((SELECT json_agg(json_build_object('name', o.rolname, 'inUse', o.oid = l.oid, 'canLogin', o.rolcanlogin, 'connections', o.rolconnlimit,
             'settings', coalesce(o.rolconfig, '{}') || ARRAY(SELECT pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = o.oid AND s.setdatabase = d.oid)))
           FROM pg_catalog.pg_roles o WHERE l.oid IS NOT NULL AND o.rolname IN (r.rolname, (r.rolname || '_b')::name)), '[]') AS logins
    FROM (VALUES (1)) one
    LEFT JOIN tenantry.tenants t ON t.uid = $1::uuid
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = coalesce(t.schema_name, $2::name)
    LEFT JOIN pg_catalog.pg_roles r ON r.rolname = coalesce(t.role_name, $3::name)
    LEFT JOIN pg_catalog.pg_roles l ON $6::text = 'database' AND l.rolname = coalesce($7::name, t.role_name, $3::name)
    LEFT JOIN pg_catalog.pg_database d ON d.datname = coalesce(t.database_name, $4::name)
    LEFT JOIN pg_catalog.pg_roles g ON g.rolname = $5::name`

/** A login that is not in use, or no longer: whether it is there, is let in, and how many connections it still has. */
export type SpareLogin = { exists: boolean; canLogin: boolean; connections: number }

/** Reads it. */
export async function readSpareLogin(database: Reader, spare: string): Promise<SpareLogin> {
  const [row] = await database.query<SpareLogin>(SPARE_LOGIN, [spare])
  return row ?? { exists: false, canLogin: false, connections: 0 }
}

const SPARE_LOGIN = `
  SELECT EXISTS (SELECT FROM pg_catalog.pg_roles s WHERE s.rolname = $1) AS exists,
         EXISTS (SELECT FROM pg_catalog.pg_roles s WHERE s.rolname = $1 AND s.rolcanlogin) AS "canLogin",
         (SELECT count(*)::int FROM pg_catalog.pg_stat_activity a WHERE a.usename = $1) AS connections`

/** Whether the tenant's own database, which `database` must be connected to, holds it, and which migrations have run there. */
export async function readOwnDatabase(database: Reader, uid: string): Promise<{ filled: boolean; version: number; baseVersion: number }> {
  const [row] = await database.query<{ filled: boolean; version: number; baseVersion: number }>(OWN_FACTS, [uid])
  return row ?? { filled: false, version: 0, baseVersion: 0 }
}

const OWN_FACTS = `
  SELECT EXISTS (SELECT FROM tenantry.tenants t WHERE t.uid = $1::uuid) AS filled,
         (SELECT coalesce(max(m.version), 0) FROM tenantry.migrations m WHERE m.tenant = $1::uuid) AS version,
         (SELECT coalesce(max(b.version), 0) FROM tenantry.database_migrations b) AS "baseVersion"`
