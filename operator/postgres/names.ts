/** The roles that a Shard's database has; named after it, since roles are shared by all databases of a server. */
export type ShardNames = {
  database: string
  runtime: string
  tenants: string
  /** The login that the runtime uses. */
  login: string
  /** The other one, which the next rotation makes valid. */
  spare: string
}

/**
 * The names for a database; the CRD keeps `database` short enough that none is longer than 63 bytes. The runtime has two logins in turn:
 * `current` is the user name of the one in use, the first when it is left out or is neither.
 */
export function shardNames(database: string, current?: string): ShardNames {
  const [first, second] = [`${database}_runtime_a`, `${database}_runtime_b`]
  const [login, spare] = current === second ? [second, first] : [first, second]
  return { database, runtime: `${database}_runtime`, tenants: `${database}_tenants`, login, spare }
}

/** The name of a tenant's schema and role: from the UID alone, so 34 bytes whatever the Tenant is called. */
export function tenantName(uid: string): string {
  return `t_${uid.replaceAll('-', '').toLowerCase()}`
}
