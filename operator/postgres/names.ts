/** The roles that a Shard's database has; named after it, since roles are shared by all databases of a server. */
export type ShardNames = { database: string; runtime: string; tenants: string; login: string }

/** The names for a database; the CRD keeps `database` short enough that none is longer than 63 bytes. */
export function shardNames(database: string): ShardNames {
  return { database, runtime: `${database}_runtime`, tenants: `${database}_tenants`, login: `${database}_runtime_a` }
}

/** The name of a tenant's schema and role: from the UID alone, so 34 bytes whatever the Tenant is called. */
export function tenantName(uid: string): string {
  return `t_${uid.replaceAll('-', '').toLowerCase()}`
}
