import type { Isolation } from '../../crds/tenant.ts'

/** What a Shard has on its server; roles and the template are named after its database, since they are shared by all databases there. */
export type ShardNames = {
  database: string
  /** Group of the runtime's logins. */
  runtime: string
  /** Group of the roles of tenants with a schema or database. */
  tenants: string
  /** The role of all tenants that share tables. */
  rows: string
  /** The login that the runtime uses, and the other one, which the next rotation makes valid. */
  login: string
  spare: string
  /** What the databases of tenants are copied from. */
  template: string
}

/** Where a tenant's tables are, and the role that reaches them. */
export type Physical = { database: string; schema: string; role: string }

/** The schema of the tables that tenants share. */
export const ROWS_SCHEMA = 'tenantry_rows'

/** The schema of the tables in a tenant's own database. */
export const OWN_SCHEMA = 'tenant'

/**
 * The names for a database; the CRD keeps `database` short enough that none is longer than 63 bytes. The runtime has two logins in turn:
 * `current` is the user name of the one in use, the first when it is left out or is neither.
 */
export function shardNames(database: string, current?: string): ShardNames {
  const [first, second] = [`${database}_runtime_a`, `${database}_runtime_b`]
  const [login, spare] = current === second ? [second, first] : [first, second]
  return {
    database,
    runtime: `${database}_runtime`,
    tenants: `${database}_tenants`,
    rows: `${database}_rows`,
    login,
    spare,
    template: `${database}_template`,
  }
}

/** Says of a template whose it is and which migrations it holds: with another mark it is made anew, never changed. */
export function templateMark(shardMark: string, version: number): string {
  return `${shardMark}, template ${version}`
}

/** A name for what belongs to one tenant alone: from the UID alone, so 34 bytes whatever the Tenant is called. */
export function tenantName(uid: string): string {
  return `t_${uid.replaceAll('-', '').toLowerCase()}`
}

/** The login that the runtime uses for a tenant's own database, and the other one. */
export type OwnLogins = { login: string; spare: string }

/**
 * The two logins of a tenant with a database of its own, in turn like the runtime's: the role itself, and another that acts as it. `current` is
 * the user name of the one in use.
 */
export function ownLogins(role: string, current?: string): OwnLogins {
  const second = `${role}_b`
  return current === second ? { login: second, spare: role } : { login: role, spare: second }
}

/** The names that a tenant of that isolation gets. */
export function physicalNames(isolation: Isolation, { database, rows }: ShardNames, uid: string): Physical {
  const own = tenantName(uid)
  switch (isolation) {
    case 'row':
      return { database, schema: ROWS_SCHEMA, role: rows }
    case 'schema':
      return { database, schema: own, role: own }
    case 'database':
      return { database: own, schema: OWN_SCHEMA, role: own }
  }
}

/** What is said of a database that another Shard is marked to have. */
export function anothers(database: string, theirs: string, own: string): string {
  return `The database ${database} belongs to "${theirs}" and this is "${own}": name another in spec.endpoint.database.`
}
